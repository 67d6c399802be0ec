"""The wire format: chat requests and answers as Open Inference Protocol tensors (contract §1 to §3).

Malformed input raises ``ProtocolError``, whose message gives the location, what was expected and what was found.
"""

from llm_streaming.protocol.chunks import accumulate
from llm_streaming.protocol.events import (
    ChatEvent,
    Completion,
    decode_completion,
    decode_error,
    decode_event,
    decode_text_event,
)
from llm_streaming.protocol.request import ChatRequest, decode_request, encode_request
from llm_streaming.protocol.response import Event, encode_chunk, encode_completion, encode_error
from llm_streaming.protocol.tensors import Tensor

__all__ = [
    "ChatEvent",
    "ChatRequest",
    "Completion",
    "Event",
    "Tensor",
    "accumulate",
    "decode_completion",
    "decode_error",
    "decode_event",
    "decode_request",
    "decode_text_event",
    "encode_chunk",
    "encode_completion",
    "encode_error",
    "encode_request",
]
