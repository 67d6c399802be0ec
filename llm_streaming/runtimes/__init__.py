"""MLServer runtimes: settings to engine, request to engine, engine's answer to response."""
