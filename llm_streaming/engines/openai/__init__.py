"""The engine of OpenAI's API and of every server that speaks it."""
