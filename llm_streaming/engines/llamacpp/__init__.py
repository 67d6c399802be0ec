"""The engine of llama.cpp, which runs a model in this process."""
