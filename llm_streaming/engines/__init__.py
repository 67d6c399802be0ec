"""Engines, which stream OpenAI's chat-completion chunks, in a folder each, because each imports a large package."""
