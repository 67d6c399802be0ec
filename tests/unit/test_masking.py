"""Secrets in errors, answers and log records."""

import base64
import json
import logging
from typing import Any

import pytest

from llm_streaming.engines.openai.engine import OpenAIEngine
from llm_streaming.errors import EngineError
from llm_streaming.masking import hide, masked
from llm_streaming.runtimes.log_records import protect_logs
from llm_streaming.runtimes.logs import log_failure
from tests.support.provider import DONE, Provider, Reply, chunk, failed, sse

KEY = "sk-proj-" + "Zx81Qw72Er63Ty54"
REQUEST = {"messages": [{"role": "user", "content": "Hello!"}]}
Parts = tuple[str, str, str | None]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def call(reply: Reply, mode: str, base_url: str | None = None) -> list[Any]:
    """The chunks or the answer of a call, and its error if it has one."""
    seen: list[Any] = []
    async with Provider(reply) as provider:
        engine = OpenAIEngine("gpt-test", base_url=base_url or provider.base_url, max_retries=0)
        if base_url:
            engine = OpenAIEngine("gpt-test", base_url=provider.base_url.replace("http://", base_url), max_retries=0)
        try:
            if mode == "complete":
                seen.append(await engine.complete(REQUEST))
            else:
                async for each in engine.stream(REQUEST):
                    seen.append(each)  # noqa: PERF401 - what came before an error is kept
        except EngineError as error:
            failure = log_failure(error)
            seen.append((str(failure), failure.type, failure.code))
        await engine.close()
    return seen


ECHOES: dict[str, tuple[Any, Parts]] = {
    "in the message": ({"message": f"Incorrect: {KEY}."}, ("Incorrect: ***.", "invalid_request_error", None)),
    "in the type": ({"message": "No.", "type": f"bad {KEY}"}, ("No.", "bad ***", None)),
    "in the code": ({"message": "No.", "code": KEY}, ("No.", "invalid_request_error", "***")),
    "nested": (
        {"message": {"detail": [{"key": KEY}]}},
        ("{'detail': [{'key': '***'}]}", "invalid_request_error", None),
    ),
    "split over fields": (
        {"message": f"No {KEY[:12]}", "type": f"{KEY[12:]} is wrong"},
        ("No ***", "*** is wrong", None),
    ),
    "starred by the provider": (
        {"message": "Incorrect: sk-proj-****Ty54."},
        ("Incorrect: sk-proj-****Ty54.", "invalid_request_error", None),
    ),
}


@pytest.mark.parametrize("mode", ["stream", "complete"])
@pytest.mark.parametrize(("error", "expected"), ECHOES.values(), ids=ECHOES)
async def test_an_error_never_shows_the_key(error: Any, expected: Parts, mode: str) -> None:
    assert await call(failed(401, {"error": error}), mode) == [expected]


async def test_an_error_that_is_a_text_never_shows_the_key() -> None:
    said = {"error": f"Incorrect API key provided: {KEY}"}
    expected = ("Incorrect API key provided: ***", "server_error", None)
    assert await call(failed(200, said), "complete") == [expected]
    assert await call(Reply([sse(chunk({"content": "a"})), sse(said)]), "stream") == [chunk({"content": "a"}), expected]


async def test_a_key_with_escaped_characters_is_hidden_too() -> None:
    escaped = "".join(f"\\u{ord(each):04x}" for each in KEY)
    reply = Reply([b'data: {"error": {"message": "No %b."}}\n\n' % escaped.encode()])
    assert await call(reply, "stream") == [("No ***.", "server_error", None)]


async def test_a_quoted_answer_never_shows_the_key() -> None:
    expected = "The provider sent a malformed answer: expected choices as a list of objects, but got '***'."
    assert await call(Reply([sse({"choices": KEY})]), "stream") == [(expected, "server_error", None)]


async def test_a_reason_phrase_and_chunks_never_show_the_key() -> None:
    chunks = [chunk({"content": f"Your key is {KEY}."}, "stop", provider_debug={"authorization": f"Bearer {KEY}"})]
    expected = [chunk({"content": "Your key is ***."}, "stop", provider_debug={"authorization": "Bearer ***"})]
    assert await call(Reply([*map(sse, chunks), DONE]), "stream") == expected


async def test_credentials_of_the_url_are_hidden_in_each_form() -> None:
    password, pair = "p@ssword-42", "somebody:p@ssword-42"
    forms = [password, pair, "somebody:p%40ssword-42", base64.b64encode(pair.encode()).decode()]
    message = " ".join([*forms, f"https://somebody:{password}@host/v1", f"Authorization: Basic {forms[-1]}"])
    reply = failed(401, {"error": {"message": message, "type": "t"}})
    [(text, _, _)] = await call(reply, "complete", base_url="http://somebody:p%40ssword-42@")
    assert text == "*** *** *** *** https://***@host/v1 Authorization: Basic ***"


def test_short_placeholders_are_not_hidden() -> None:
    hide("none", "x")
    assert masked("none of the x") == "none of the x"


def test_logs_never_show_the_key_and_no_text_forges_a_record(caplog: pytest.LogCaptureFixture) -> None:
    hide(KEY)
    factory = logging.getLogRecordFactory()
    protect_logs()
    try:
        log = logging.getLogger("anything")
        log.error("%s has %d of %s", KEY, 5, {"a": KEY})
        log.error(f"name\n2026-11-26 [mlserver] INFO - forged\x1b]0;{KEY}\x07")
        try:
            raise ValueError(f"\nforged {KEY}")
        except ValueError:
            log.exception("it failed")
    finally:
        logging.setLogRecordFactory(factory)
    texts = [logging.Formatter("%(message)s").format(record) for record in caplog.records]
    assert texts[:2] == ["*** has 5 of {'a': '***'}", "name\n    2026-11-26 [mlserver] INFO - forged\\x1b]0;***\\x07"]
    first, second, *_, name, forged = texts[2].splitlines()
    assert (first, second, name, forged) == (
        "it failed",
        "Traceback (most recent call last):",
        "ValueError: ",
        "    forged ***",
    )


def test_arguments_that_formatters_read_stay_a_tuple() -> None:
    """uvicorn's formatter of its access log unpacks five arguments."""
    factory = logging.getLogRecordFactory()
    protect_logs()
    try:
        create = logging.getLogRecordFactory()
        record = create("uvicorn.access", logging.INFO, "", 1, '%s "%s" %d', ("1.2.3.4", "GET /\x1b", 200), None)
    finally:
        logging.setLogRecordFactory(factory)
    assert (record.args, record.getMessage()) == (("1.2.3.4", r"GET /\x1b", 200), r'1.2.3.4 "GET /\x1b" 200')


def test_an_error_stays_an_error_of_openai() -> None:
    hide(KEY)
    failure = log_failure(EngineError(f"{KEY}\x07" + "a" * 2000, status=429, type="t", code="\ud83d", retry_after=7))
    assert json.loads(json.dumps(failure.as_openai())) == {
        "error": {"message": ("***" + r"\x07" + "a" * 2000)[:1000], "type": "t", "code": r"\ud83d"}
    }
    assert (failure.status, failure.retry_after) == (429, 7)
