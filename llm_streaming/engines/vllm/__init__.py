"""The engine of vLLM, which runs a model in processes of its own."""
