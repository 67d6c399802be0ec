"""The embedded mesh of another process, used through a socket."""
