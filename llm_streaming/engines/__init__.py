"""What streams OpenAI chat-completion chunks: a provider's API, or a model in this process."""
