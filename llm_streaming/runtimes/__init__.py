"""MLServer runtimes: they start an engine from settings, pass requests to it, and its answers to the client."""
