"""Server processes on this machine, which end with the process that starts them."""
