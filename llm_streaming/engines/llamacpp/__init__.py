"""The engine llama.cpp, which runs a model in this process."""
