"""Restore the committed versions of the notebooks between two runs of a workshop; ``make reset`` runs this script.

The script first copies every changed notebook into ``build/reset``. It does not touch notebooks that are not committed.
It runs on any Python 3 and does not need ``.venv``.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Copy the changed notebooks, then restore them."""
    changed = [name for name in git("diff", "--name-only", "-z", "HEAD", "--", "notebooks").split("\0") if name]
    if not changed:
        print("No notebook differs from its committed version.")
        return
    edited = [name for name in changed if (ROOT / name).exists()]  # the others were deleted
    copies = ROOT / "build" / "reset" / time.strftime("%Y-%m-%d-%H%M%S")
    for name in edited:
        copy = copies / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy)
    git("restore", "--source=HEAD", "--staged", "--worktree", "--", *changed)
    for name in changed:
        print(f"Restored {name}.")
    if edited:
        print(f"The changed notebooks were copied to {copies.relative_to(ROOT)}.")


def git(*arguments: str) -> str:
    """Run git in the project and return its output; exit if git fails, which prints its own errors."""
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("The notebooks were not restored: this works only in a clone made by git.")
    return done.stdout


if __name__ == "__main__":
    main()
