"""What of MLServer's and asyncio's own records stays out of the log."""

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator

import pytest
from mlserver.context import model_context
from mlserver.settings import ModelSettings

from llm_streaming.runtimes.logs import silence_mlserver


async def in_another_context(generator: AsyncGenerator[None, None], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What asyncio says of a generator that is closed elsewhere, in a task that nobody waits for."""
    await anext(generator)
    loop = asyncio.get_running_loop()
    task = contextvars.Context().run(loop.create_task, generator.aclose())
    await asyncio.wait([task])
    caplog.clear()
    loop.call_exception_handler(
        {
            "message": f"Task exception was never retrieved\nfuture: {task!r}",
            "exception": task.exception(),
        }
    )
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("silenced", [False, True])
async def test_generators_that_mlserver_forgets_stay_out_of_the_log(
    silenced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def infer_stream() -> AsyncGenerator[None, None]:
        with model_context(ModelSettings.model_construct(name="m")):
            yield

    asyncio_logger = logging.getLogger("asyncio")
    before = list(asyncio_logger.filters)
    if silenced:
        silence_mlserver()
    else:
        asyncio_logger.filters.clear()
    try:
        said = await in_another_context(infer_stream(), caplog)
    finally:
        asyncio_logger.filters[:] = before
    assert len(said) == (0 if silenced else 1)


def test_other_complaints_of_asyncio_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    silence_mlserver()
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    assert caplog.messages == ["Task exception was never retrieved"]
