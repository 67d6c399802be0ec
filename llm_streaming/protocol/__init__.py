"""The wire format: chat requests and answers as Open Inference Protocol tensors (contract §1 to §3).

Pure functions and small dataclasses. Malformed input raises ``ProtocolError`` with one sentence that gives the
location, what was expected and what was found.
"""

from llm_streaming.protocol.accumulate import Accumulator, accumulate
from llm_streaming.protocol.chunks import check_chunk, keep_alive_chunk, merge
from llm_streaming.protocol.events import (
    ChatEvent,
    Completion,
    decode_completion,
    decode_error,
    decode_event,
    decode_text_event,
)
from llm_streaming.protocol.request import ChatRequest, ParametersName, decode_request, encode_request
from llm_streaming.protocol.response import (
    Event,
    chunk_lines,
    encode_chunk,
    encode_completion,
    encode_error,
    select,
)
from llm_streaming.protocol.tensors import INPUT_NAMES, METADATA, OUTPUT_NAMES, Tensor

__all__ = [
    "INPUT_NAMES",
    "METADATA",
    "OUTPUT_NAMES",
    "Accumulator",
    "ChatEvent",
    "ChatRequest",
    "Completion",
    "Event",
    "ParametersName",
    "Tensor",
    "accumulate",
    "check_chunk",
    "chunk_lines",
    "decode_completion",
    "decode_error",
    "decode_event",
    "decode_request",
    "decode_text_event",
    "encode_chunk",
    "encode_completion",
    "encode_error",
    "encode_request",
    "keep_alive_chunk",
    "merge",
    "select",
]
