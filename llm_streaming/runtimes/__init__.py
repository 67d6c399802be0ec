"""MLServer runtimes, which start an engine from settings, pass requests to the engine and return its answers."""
