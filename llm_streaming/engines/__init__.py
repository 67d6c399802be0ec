"""Engines, which stream OpenAI's chat-completion chunks. Each has its own folder, and imports a large package."""
