"""Engines, which stream OpenAI's chat-completion chunks: a provider's API, or a model on this machine.

Each engine has a folder of its own. Import the one that you need, because each imports a large package.
"""
