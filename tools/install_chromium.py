"""Install Chromium for the browser tests and ``make animation``, unless the machine has Chromium or Chrome.

The script looks for the program that the variable ``CHROMIUM`` names or, if the variable is not set, for the usual
program names. To install Debian's package, it needs apt-get, and root or sudo without a password.
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
    """Return the path of a Chromium or Chrome.

    Returns:
        The path, or None if there is no such program. If ``CHROMIUM`` is set, only the program that it names counts.
    """
    named = os.environ.get(VARIABLE)
    return next(filter(None, map(shutil.which, (named,) if named else NAMES)), None)


def main() -> None:
    """Install Chromium, unless the machine has Chromium or Chrome."""
    if find_chromium():
        return
    if named := os.environ.get(VARIABLE):
        sys.exit(f"{VARIABLE} is set to {named}, but no such program exists: correct it or unset it.")
    apt, root = shutil.which("apt-get"), root_prefix()
    if apt is None or root is None:
        sys.exit(MISSING)
    print("Installing Chromium", flush=True)
    apt_get = [*root, apt, "-o", "DPkg::Lock::Timeout=300"]  # seconds to wait for another installation
    for command in (["update", "--quiet=2"], ["install", "--yes", "--quiet=2", "--no-install-recommends", "chromium"]):
        if subprocess.run([*apt_get, *command], stdout=subprocess.DEVNULL).returncode:
            sys.exit(MISSING)


def root_prefix() -> list[str] | None:
    """Return the words to put before a command so that it runs as root.

    Returns:
        An empty list if this process runs as root, a call of sudo if sudo needs no password, otherwise None.
    """
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "--non-interactive", "true"], capture_output=True).returncode:
        return None
    return [sudo, "--non-interactive"]


if __name__ == "__main__":
    main()
