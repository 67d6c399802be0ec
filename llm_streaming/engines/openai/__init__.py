"""The engine that calls OpenAI's API, at OpenAI or at any compatible server."""
