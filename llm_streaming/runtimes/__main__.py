"""Starts MLServer: ``python -m llm_streaming.runtimes <repository>``; see `llm_streaming.runtimes.server`.

Processes that vLLM starts import the main module again, but not if its name is ``__main__``: MLServer needs 120 MB.
"""

import warnings

# MLServer uses a name that Starlette has replaced; the warning would be the first lines of every server's log.
warnings.filterwarnings("ignore", message="'HTTP_422_UNPROCESSABLE_ENTITY' is deprecated")

from llm_streaming.runtimes.server import main  # noqa: E402 - after the filter

main()
