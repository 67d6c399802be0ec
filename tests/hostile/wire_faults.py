"""Requests as they cross the wire, and faults in their bytes, headers and paths."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from llm_streaming.client.inference_pb2 import ModelInferRequest
from tests.hostile.grammar import DOORS, GRPC, JSON, Expected, faults


@dataclass
class Wire:
    """A request on its way: over gRPC the path is the method's, the headers are its metadata, the body its message.

    Attributes:
        leaves: when the client leaves: never, after ``half`` of the request, or at the ``first`` bytes of the answer.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"
    leaves: str = ""


def _header(**choices: tuple[str, ...]) -> Callable[[Random, Wire], None]:
    def apply(rng: Random, wire: Wire) -> None:
        name = rng.choice(list(choices))
        wire.headers[name.replace("_", "-")] = rng.choice(choices[name])

    return apply


def _path(*paths: str) -> Callable[[Random, Wire], None]:
    """A fault that calls a path; ``%`` in it is the right path."""
    return lambda rng, wire: setattr(wire, "path", rng.choice(paths).replace("%", wire.path))


def _length(rng: Random, wire: Wire) -> None:
    wire.headers["content-length"] = rng.choice(("0", "1", str(len(wire.body) - 1), str(len(wire.body) + 1), "-1", "x"))


def _chunked(rng: Random, wire: Wire) -> None:
    del wire.headers["content-length"]
    wire.headers["transfer-encoding"] = "chunked"
    wire.body = (
        rng.choice((b"5\r\n", b"ffffffffffffffffff\r\n", b"x\r\n", b"%x\r\n" % (len(wire.body) + 9))) + wire.body
    )


def _bytes(change: Callable[[Random, bytes], bytes]) -> Callable[[Random, Wire], None]:
    return lambda rng, wire: setattr(wire, "body", change(rng, wire.body))


def _flip(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _message(change: Callable[[Random, ModelInferRequest], object]) -> Callable[[Random, Wire], None]:
    def apply(rng: Random, wire: Wire) -> None:
        message = ModelInferRequest.FromString(wire.body)
        change(rng, message)
        wire.body = message.SerializeToString()

    return apply


def _raw(rng: Random, message: ModelInferRequest) -> None:
    raw = rng.choice((b"", b"\x01", b"\xff\xff\xff\xff", b"\x05\x00\x00\x00user", b"\x00\x00\x00\x00" * 9))
    for _ in range(rng.randint(1, 4)):
        message.MergeFromString(b"\x3a%c%b" % (len(raw), raw))  # field 7, which this project's own messages do not have


def _twice_typed(_: Random, message: ModelInferRequest) -> None:
    message.inputs[1].contents.MergeFromString(b"\x12\x01\x05")  # field 2, contents that are integers


def _parameters(rng: Random, message: ModelInferRequest) -> None:
    for name in ("llm_parameters", "kwargs"):
        message.parameters[name].string_param = rng.choice(("5", "[]", "{", "nonsense"))


def _not_utf8(_: Random, message: ModelInferRequest) -> None:
    message.inputs[0].contents.bytes_contents[0] = b"us\xffer"


_EVIL = {"host": ("evil.example", "127.0.0.1.evil.example"), "origin": ("http://evil.example", "null")}
_TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "")
_ODD = {"x": ("y" * 70_000, "\x00", "\xff"), "seldon_model": ("other", "\x01"), "accept_encoding": ("zstd", "x" * 9000)}
_PATHS = ("/", "%/x", "%/../../../repository/index", "/v2/models//infer", "/v2/repository/index", "/" + "x" * 9000)
_METHODS = tuple(
    f"/inference.GRPCInferenceService/{name}" for name in ("X", "RepositoryIndex", "RepositoryModelUnload")
)

WIRE_FAULTS = [
    *faults(
        "wire",
        JSON,
        Expected.REFUSED,
        {
            "http: a web page's headers": _header(**_EVIL, sec_fetch_site=("cross-site",)),
            "http: another content type": _header(content_type=_TYPES),
            "http: another path": _path(*_PATHS),
            "http: another method": lambda rng, wire: setattr(wire, "method", rng.choice(("GET", "PUT", "X"))),
        },
    ),
    *faults(
        "wire",
        JSON,
        Expected.ANY,
        {
            "http: wrong content length": _length,
            "http: broken chunks": _chunked,
            "http: odd headers": _header(**_ODD),
            "leaves: half sent": lambda _, wire: setattr(wire, "leaves", "half"),
        },
    ),
    *faults(
        "wire",
        GRPC,
        Expected.REFUSED,
        {
            "grpc: not UTF-8": _message(_not_utf8),
            "grpc: contents of two types": _message(_twice_typed),
            "grpc: parameters are no object": _message(_parameters),
            "grpc: another model": _header(seldon_model=("other", "", "a/b")),
            "grpc: another method": _path(*_METHODS),
        },
    ),
    *faults(
        "wire",
        GRPC,
        Expected.ANY,
        {
            "grpc: raw contents": _message(_raw),
            "grpc: truncated": _bytes(lambda rng, data: data[: rng.randrange(len(data))]),
            "grpc: bits flipped": _bytes(_flip),
            "grpc: random bytes": _bytes(lambda rng, _: rng.randbytes(rng.randint(0, 300))),
        },
    ),
    *faults(
        "wire",
        DOORS,
        Expected.ANY,
        {"leaves: while answered": lambda _, wire: setattr(wire, "leaves", "first")},
    ),
]
