"""Clients of deployed models: `ChatClient`, `AsyncChatClient`, `GrpcChatClient` and `AsyncGrpcChatClient`."""
