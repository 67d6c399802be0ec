"""Server processes on this machine, which stop when the process that started them ends."""
