"""Look for known vulnerabilities of every package in ``requirements/*.lock``; ``make audit`` runs this script.

pip-audit, which uv runs in an environment of its own, asks PyPI for the vulnerabilities of each version. Some networks
offer PyPI's packages but not this information; pip-audit then passes over the packages and reports no vulnerability.
This script fails instead.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.install import ROOT

_PIP_AUDIT = "pip-audit==2.10.1"


def main() -> None:
    """Audit each lock file, print what was found, and exit with status 1 unless every package was found safe."""
    found = {lock.name: _audit(lock) for lock in sorted((ROOT / "requirements").glob("*.lock"))}
    problems = [problem for name, report in found.items() for problem in problems_in(name, report)]
    print("\n".join(problems) or "No package in the lock files has a known vulnerability.")
    sys.exit(bool(problems))


def problems_in(lock: str, report: dict[str, Any]) -> list[str]:
    """Return one sentence for each vulnerability in pip-audit's report about a lock file.

    If packages could not be audited, one more sentence says so.
    """
    problems, skipped = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            skipped.append(package["name"])
        for known in package.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            problems.append(f"{lock}: {package['name']} {package['version']} has {known['id']}, fixed in {fixed}.")
    if skipped:
        share = f"{len(skipped)} of {len(report['dependencies'])} packages"
        problems.append(
            f"{lock}: PyPI gave no information about {share}, such as {skipped[0]}, so they were not audited: run "
            "`make audit` in a network that reaches PyPI itself."
        )
    return problems


def _audit(lock: Path) -> dict[str, Any]:
    """Return pip-audit's report, or exit with its own last line if there is none."""
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "uv", "tool", "run", _PIP_AUDIT, *options, "--requirement", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        sys.exit(
            f"pip-audit did not audit {lock.name} ({last}): run `make audit` in a network that reaches PyPI itself."
        )
    return report


if __name__ == "__main__":
    main()
