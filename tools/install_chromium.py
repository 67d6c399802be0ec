"""Have a Chromium on this machine, which the browser test and the README's animation drive.

One that is there is used: the program that ``CHROMIUM`` names, or the first of the usual names. Otherwise Debian's is
installed, where whoever runs this may.
"""

import os
import shutil
import subprocess
import sys

VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "There is no Chromium, and it cannot be installed from here: install it (on Debian: apt-get install chromium; on "
    f"macOS: brew install --cask chromium), or set {VARIABLE} to the path of a Chromium or Chrome."
)


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome; None where there is none, or ``CHROMIUM`` names what is no program."""
    named = os.environ.get(VARIABLE)
    return next(filter(None, map(shutil.which, (named,) if named else NAMES)), None)


def main() -> None:
    """Install Chromium unless there is one."""
    if find_chromium():
        return
    if named := os.environ.get(VARIABLE):
        sys.exit(f"{VARIABLE} names {named}, and there is no such program: correct it or unset it.")
    apt, privileges = shutil.which("apt-get"), as_root()
    if apt is None or privileges is None:
        sys.exit(MISSING)
    print("Installing Chromium", flush=True)
    install = [*privileges, apt, "-o", "DPkg::Lock::Timeout=300"]  # another installation may be under way
    for command in (["update", "--quiet=2"], ["install", "--yes", "--quiet=2", "--no-install-recommends", "chromium"]):
        if subprocess.run([*install, *command], stdout=subprocess.DEVNULL).returncode:
            sys.exit(MISSING)


def as_root() -> list[str] | None:
    """What to put before a command that root has to run; None where nobody here may be root without a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "--non-interactive", "true"], capture_output=True).returncode:
        return None
    return [sudo, "--non-interactive"]


if __name__ == "__main__":
    main()
