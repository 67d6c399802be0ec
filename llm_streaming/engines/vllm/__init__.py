"""The engine vLLM, which runs a model in separate processes."""
