"""Finds parameters that look like misspelled parameters of OpenAI's API."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

from openai.types.chat.completion_create_params import CompletionCreateParamsBase

_OPENAI = frozenset(CompletionCreateParamsBase.__annotations__)
_NOT_PARAMETERS = {"model", "messages", "stream_options"}  # `models` is a parameter of OpenRouter, not a misspelling
# From 0 to 1, the similarity at which a name counts as misspelled. Providers' own parameters are less similar to
# OpenAI's: `top_k` to `top_p` 0.80, `min_tokens` to `max_tokens` 0.80, `reasoning_format` to `reasoning_effort` 0.88.
_SIMILAR = 0.88
_MOST_CHECKED = 50  # names of one request, because each takes 0.1 ms


def misspelled(names: Iterable[str]) -> list[str]:
    """Return a warning for each name that OpenAI's API does not know, but that is similar to a name that it knows."""
    warnings = []
    for name in islice((name for name in names if name not in _OPENAI), _MOST_CHECKED):
        plain = name.lower().replace("-", "_")
        similar = difflib.get_close_matches(plain, _OPENAI - _NOT_PARAMETERS, n=1, cutoff=_SIMILAR)
        if similar:
            warnings.append(f"OpenAI's API has no parameter {name} (did you mean {similar[0]}?); it was sent as it is")
    return warnings
