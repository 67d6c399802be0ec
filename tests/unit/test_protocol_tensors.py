"""Tensors: both ways of building one, and what is refused."""

import pytest

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import Tensor

HELLO = Tensor("content", ("Hällo", "🙂"))


def test_json():
    value = {"name": "content", "shape": [2], "datatype": "BYTES", "data": ["Hällo", "🙂"]}
    assert HELLO.as_json() == value
    assert Tensor.from_json({**value, "parameters": {"content_type": "str"}}) == HELLO


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2], (2,)])
@pytest.mark.parametrize(
    "data",
    [
        ["Hällo", "🙂"],
        [b"H\xc3\xa4llo", b"\xf0\x9f\x99\x82"],
        [["Hällo"], ["🙂"]],
    ],
    ids=["REST", "gRPC", "nested"],
)
def test_parts(shape, data):
    assert Tensor.from_parts("content", "BYTES", shape, data) == HELLO


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("", "BYTES", [0], []), "tensor: expected a name, but got ''"),
        (("content", "FP32", [1], ["a"]), "tensor 'content': expected datatype BYTES, but got 'FP32'"),
        (("content", "BYTES", [3], "abc"), "tensor 'content': expected a list of strings as data, but got 'abc'"),
        (("content", "BYTES", [2], ["a", 1]), "tensor 'content'[1]: expected a string, but got 1"),
        (("content", "BYTES", [1], [b"\xff"]), "tensor 'content'[0]: expected UTF-8, but got b'\\xff'"),
        (
            ("content", "BYTES", [2], ["a"]),
            "tensor 'content': expected shape [1], to match the number of elements in data, but got [2]",
        ),
        (
            ("content", "BYTES", [], ["a"]),
            "tensor 'content': expected shape [1], to match the number of elements in data, but got []",
        ),
        (
            ("content", "BYTES", [-1, -1], ["a"]),
            "tensor 'content': expected shape [1], to match the number of elements in data, but got [-1, -1]",
        ),
        (
            ("content", "BYTES", [True], ["a"]),
            "tensor 'content': expected shape [1], to match the number of elements in data, but got [True]",
        ),
    ],
)
def test_malformed_parts(parts, message):
    with pytest.raises(ProtocolError) as caught:
        Tensor.from_parts(*parts)
    assert str(caught.value) == message


def test_malformed_json():
    with pytest.raises(ProtocolError) as caught:
        Tensor.from_json({"name": "role", "data": ["user"]})
    expected = "tensor: expected an object with name, shape, datatype and data, but got "
    assert str(caught.value) == f"{expected}{{'name': 'role', 'data': ['user']}}"
