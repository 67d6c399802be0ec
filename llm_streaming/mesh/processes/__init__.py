"""Server processes on this machine, which are started again if they exit, and stop with the process that uses them."""
