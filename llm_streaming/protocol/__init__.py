"""What crosses the wire: chat messages and answers as Open Inference Protocol tensors.

Pure functions and small dataclasses. Whatever breaks the contract raises ``ProtocolError`` with one sentence that
says where, what was expected and what came instead.
"""

from llm_streaming.protocol.accumulate import Accumulator, accumulate
from llm_streaming.protocol.errors import decode_error, encode_error
from llm_streaming.protocol.events import ChatEvent, Completion, decode_completion, decode_event
from llm_streaming.protocol.merge import merge
from llm_streaming.protocol.outputs import INPUT_NAMES, METADATA, OUTPUT_NAMES, Event, select
from llm_streaming.protocol.request import ChatRequest, ParametersName, decode_request, encode_request
from llm_streaming.protocol.response import encode_chunk, encode_completion, keep_alive_chunk
from llm_streaming.protocol.tensors import Tensor
from llm_streaming.protocol.usual import usual_event

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
    "decode_completion",
    "decode_error",
    "decode_event",
    "decode_request",
    "encode_chunk",
    "encode_completion",
    "encode_error",
    "encode_request",
    "keep_alive_chunk",
    "merge",
    "select",
    "usual_event",
]
