"""Put the notebooks back as they are committed, between two runs of a workshop: what ``make reset`` runs.

Those that were changed are copied into ``build/reset`` first; notebooks of one's own stay where they are.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(root: Path = ROOT) -> None:
    """Copy what was changed, and put it back."""
    listed = git(root, "diff", "--name-only", "-z", "HEAD", "--", "notebooks")
    changed = [name for name in listed.split("\0") if name]
    if not changed:
        print("The notebooks are as they were committed.")
        return
    edited = [name for name in changed if (root / name).exists()]  # the others were deleted
    kept = root / "build" / "reset" / time.strftime("%Y-%m-%d-%H%M%S")
    for name in edited:
        copy = kept / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, copy)
    git(root, "restore", "--source=HEAD", "--staged", "--worktree", "--", *changed)
    print(*(f"{name} is as it was committed." for name in changed), sep="\n")
    if edited:
        print(f"What was changed is in {kept.relative_to(root)}.")


def git(root: Path, *arguments: str) -> str:
    """Run git, and end where it fails: it has said why."""
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("The notebooks were not put back: they are only in a clone made by git.")
    return done.stdout


if __name__ == "__main__":
    main()
