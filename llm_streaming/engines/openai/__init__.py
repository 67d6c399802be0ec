"""The engine OpenAI's API, of OpenAI and of every server that speaks it."""
