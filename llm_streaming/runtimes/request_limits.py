"""Limits of HTTP requests to MLServer, and error messages about malformed requests, for all of MLServer's paths.

MLServer itself reads and decompresses bodies of any size. FastAPI answers 500 to a body whose error report it cannot
serialise. Importing this module replaces two methods of MLServer's request class, and adds a handler to those that
MLServer gives to FastAPI; the handler works only if the module is imported before MLServer creates its HTTP server.
"""

from __future__ import annotations

import zlib
from typing import Any

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from mlserver.errors import MLServerError
from mlserver.rest.errors import _EXCEPTION_HANDLERS, handle_mlserver_error
from mlserver.rest.requests import Request
from mlserver.rest.responses import Response

from llm_streaming.errors import ProtocolError
from llm_streaming.printable import one_line
from llm_streaming.protocol import json
from llm_streaming.protocol.json import unexpected
from llm_streaming.protocol.limits import LARGEST_REQUEST, check_depth

_MOST_SEPARATORS = 500_000  # commas and opening brackets; MLServer's validation takes up to 1 s for as many values
_GZIP = 31  # zlib's number for gzip's format


class RequestRefusedError(MLServerError, HTTPException):
    """A request with a malformed or too large body.

    FastAPI passes on HTTPExceptions and replaces other exceptions from reading a body. As an MLServerError, which comes
    first in the inheritance, this exception is answered by MLServer's handler: ``{"error": …}``.
    """

    def __init__(self, reason: object, status: int = 422) -> None:
        HTTPException.__init__(self, status, str(reason))
        self.message = str(reason)

    def __str__(self) -> str:
        return self.message


async def _read_body(request: Request) -> bytes:
    if not hasattr(request, "_body"):
        body = bytearray()
        async for piece in request.stream():
            body += piece
            _check_size(len(body))
        request._body = _checked(bytes(body), "gzip" in request.headers.getlist("content-encoding"))  # noqa: SLF001
    return request._body  # noqa: SLF001


def _checked(body: bytes, compressed: bool) -> bytes:
    if compressed:
        try:
            body = zlib.decompressobj(_GZIP).decompress(body, LARGEST_REQUEST + 1)
        except zlib.error:
            raise RequestRefusedError("the body: expected gzip, as in the header content-encoding") from None
        _check_size(len(body))
    try:
        body.decode()
    except UnicodeDecodeError:
        raise RequestRefusedError(unexpected("the body", "UTF-8", body)) from None
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_SEPARATORS:
        raise RequestRefusedError("the body contains more than 500,000 JSON values: send a smaller request", 413)
    return body


def _check_size(size: int) -> None:
    if size > LARGEST_REQUEST:
        raise RequestRefusedError("the body is larger than 16 MiB: send a smaller request", 413)


async def _read_json(request: Request) -> Any:  # noqa: ANN401 - any JSON value
    try:
        value = json.parse(await request.body(), object, "the body", "JSON")
        check_depth(value, "the body")
    except ProtocolError as error:
        raise RequestRefusedError(error) from None
    return value


async def _explain(request: Request, error: RequestValidationError) -> Response:
    """Answer a JSON body of another shape than the Open Inference Protocol's with one sentence."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    sentence = one_line(f"{place}: {first['msg']}, but got {first.get('input')!r:.60}")
    return await handle_mlserver_error(request, MLServerError(sentence, 422))


Request.body = _read_body  # type: ignore[method-assign,assignment]
Request.json = _read_json  # type: ignore[method-assign,assignment]
_EXCEPTION_HANDLERS[RequestValidationError] = _explain  # type: ignore[index,assignment]
