"""Loads a model file into llama.cpp's server, which runs in this process."""

from __future__ import annotations

import secrets
from pathlib import Path

import xllamacpp

from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.errors import EngineError


def load_server(params: xllamacpp.CommonParams) -> xllamacpp.Server:
    """Load a model and start llama.cpp's server, which takes a moment.

    Raises:
        EngineError: llama.cpp cannot read the model's file.
    """
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        message = f"llama.cpp cannot load {params.model.path}: the model must be a complete .gguf file."
        raise EngineError(message) from None
    # An answer shows that the server's thread runs. A server that is freed before its thread runs never ends.
    server.handle_completions(b'{"prompt": [1], "max_tokens": 1}', lambda _: False)
    return server


def server_params(path: Path, settings: LlamaCppSettings) -> xllamacpp.CommonParams:
    """Build llama.cpp's parameters for a model file, for use in an engine or in a llama.cpp server."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {Path(settings.model).name.removesuffix(".gguf")}  # by default, chunks contain the whole path
    # Each slot has its own context. If all slots shared one context, all streams would fail when it is full, and
    # answers would depend on the other streams even with the same seed.
    params.n_ctx = settings.n_ctx * settings.n_parallel
    params.n_parallel = settings.n_parallel
    params.n_batch = params.n_ubatch = settings.n_batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.n_threads
    params.cache_ram_mib = 0  # by default, llama.cpp caches past prompts in up to 8 GB of memory
    params.fit_params = False  # fitting parameters to the free memory would take seconds
    params.verbosity = -1
    # llama.cpp always listens on a loopback port. A random key makes that port unusable for others.
    params.api_keys = [secrets.token_hex()]
    params.cors_origins = ""
    params.ui = params.endpoint_slots = False
    return params
