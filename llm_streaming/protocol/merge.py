"""Chunks that wait for a slow reader, in fewer and longer ones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import orjson

LONGEST_RUN = 4096  # characters of text in a merged chunk: what one event may hold (contract §2)


def merge(chunks: Iterable[bytes]) -> list[bytes]:
    """Join neighbours that bring nothing but text; everything else stays as it is, and in its place.

    The texts concatenate to the same answer. A chunk with logprobs is not joined: each of its tokens is told apart.

    Args:
        chunks: the JSON of a ``chat.completion.chunk`` each, of one stream.
    """
    parsed = [(line, orjson.loads(line)) for line in chunks]
    merged: list[bytes] = []
    for plain, group in groupby(parsed, key=lambda pair: _is_plain_text(pair[1])):
        run = list(group)
        merged += _joined(run) if plain else [line for line, _ in run]
    return merged


def _joined(run: list[tuple[bytes, dict[str, Any]]]) -> list[bytes]:
    pieces: list[tuple[bytes, dict[str, Any], list[str]]] = []
    length = 0
    for line, chunk in run:
        text = chunk["choices"][0]["delta"]["content"]
        if pieces and length + len(text) <= LONGEST_RUN:
            pieces[-1][2].append(text)
            length += len(text)
        else:
            pieces.append((line, chunk, [text]))
            length = len(text)
    return [line if len(texts) == 1 else _with_text(chunk, "".join(texts)) for line, chunk, texts in pieces]


def _with_text(chunk: dict[str, Any], text: str) -> bytes:
    return orjson.dumps({**chunk, "choices": [{**chunk["choices"][0], "delta": {"content": text}}]})


def _is_plain_text(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices") or []
    if len(choices) != 1 or chunk.get("usage"):
        return False
    choice = choices[0]
    delta = choice.get("delta") or {}
    return (
        delta.keys() == {"content"}
        and isinstance(delta["content"], str)
        and not choice.get("index")
        and not choice.get("finish_reason")
        and not choice.get("logprobs")
    )
