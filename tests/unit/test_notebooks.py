"""The results that the notebooks recorded: those committed, or those in the folder that --executed names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_streaming.notebook import recorded
from llm_streaming.paths import project_root

Results = dict[str, Any]

# In 07-when-things-go-wrong: the status of each failure; the failures in the middle of an answer; and how other clients
# report a failure of the provider (the statuses of `infer` and of a gRPC stream, the exception of OpenAI's client).
STATUSES = {
    "unknown model": 404,
    "misspelt parameter": 422,
    "longer than fits": 422,
    "too long": 422,
    "bad key": 401,
    "no model": 422,
    "too often": 429,
    "overloaded": 503,
    "crashes": 500,
    "breaks off": 502,
    "model deleted": 503,
    "server gone": None,
    "nobody there": None,
}
BROKEN_OFF = {"crashes", "breaks off", "model deleted", "server gone"}
OTHER_CLIENTS = {
    "too long": (422, "FAILED_PRECONDITION", "BadRequestError"),
    "bad key": (401, "UNKNOWN", "AuthenticationError"),
    "no model": (422, "FAILED_PRECONDITION", "NotFoundError"),
    "too often": (429, "UNKNOWN", "RateLimitError"),
    "overloaded": (503, "UNKNOWN", "InternalServerError"),
    "crashes": (500, "INTERNAL", "APIError"),
    "breaks off": (502, "UNKNOWN", "APIError"),
    "falls silent": (200, "OK", "-"),
}

# Conditions that hold on any machine, in addition to the speed that every notebook records.
HOLDS: dict[str, Callable[[Results], bool]] = {
    "01-openai-streaming": lambda found: found["events_of_the_first_answer"] > 20,
    "02-local-streaming": lambda found: 20 < found["tokens_of_the_first_answer"] <= 256,
    "03-grpc-streaming": lambda found: found["answers_at_once"] == 8,
    "04-openai-client": lambda found: found["messages_in_the_conversation"] == 5,
    "05-why-stream": lambda found: (
        found["seconds_to_first_token"] < found["seconds_to_the_whole_answer"]
        and found["users_at_once"] == [1, 2, 4, 8]
        and found["tokens_of_the_answers"] == [8, 16, 32, 64, 128, 256]
        and found["arrivals_of_one_question"]["infer"] == 1 < found["arrivals_of_one_question"]["infer_stream"]
        and found["bytes_per_token"]["infer"] < found["bytes_per_token"]["infer_stream"]
    ),
    "06-on-the-wire": lambda found: (
        found["events_byte_by_byte_are_the_same"]
        and found["text_of_the_special_characters"] == '"Zürich, naïve, 🙂"'
        and found["bytes_per_event"]["OpenAI"] < found["bytes_per_event"]["gRPC"] < found["bytes_per_event"]["HTTP"]
        and (found["events_with_workers"], found["workers_left"]) == (1, 0)
        and found["encodings_with_gzip"] == {"infer_stream": None, "infer": "gzip"}
    ),
    "07-when-things-go-wrong": lambda found: (
        found["statuses"] == STATUSES
        and {what for what, kept in found["partials"].items() if kept} == BROKEN_OFF
        and {fault: seen_by_others(row) for fault, row in found["other_clients"].items()} == OTHER_CLIENTS
        and found["keep_alives"] >= 1
        and found["provider_stopped"]
        and found["requests"] == {"busy": 3, "bad key": 1, "breaks off": 1}
    ),
    "08-serving-others": lambda found: (
        found["requests_by_ending"] == {"answered": 0, "invalid_request_error": 1, "cancelled": 1}
        and found["connections_of_eight_users"] == {"HTTP": 8, "gRPC": 1}
        and found["users_at_once"] == [1, 2, 4, 8, 16]
        and found["tokens_per_second_together"] > 0
        and found["events_without_text"] >= 1
    ),
}


def seen_by_others(row: Results) -> tuple[int, str, str]:
    return row["infer"], row["gRPC"], row["OpenAI"]


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    executed = request.config.getoption("--executed")
    return Path(executed) if executed else project_root() / "notebooks"


def test_each_notebook_has_expectations() -> None:
    assert sorted(HOLDS) == sorted(path.stem for path in (project_root() / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", HOLDS)
def test_results_are_recorded(folder: Path, name: str) -> None:
    results = recorded(json.loads((folder / f"{name}.ipynb").read_text()))
    assert results["tokens_per_second"] > 0
    assert 0 < results["seconds_to_first_token"] < 60
    assert HOLDS[name](results), results
