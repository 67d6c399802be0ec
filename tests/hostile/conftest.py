"""The size of the fuzzer's run, as options of pytest; `make test-hostile` passes them."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--requests", type=int, default=10_000, help="how many requests the fuzzer sends")
    parser.addoption("--first", type=int, default=0, help="the index of the first one, to send one again")
    parser.addoption("--seed", type=int, default=1, help="the seed of all of them")
