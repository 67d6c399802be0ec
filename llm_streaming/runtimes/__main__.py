"""Starts MLServer: ``python -m llm_streaming.runtimes <repository>``; see `llm_streaming.runtimes.server`.

Processes that vLLM starts import the main module again, but not if its name is ``__main__``: MLServer needs 120 MB.
"""

from llm_streaming.runtimes.server import main

main()
