"""Install Chromium, which the browser tests and ``make animation`` use, unless the machine has one.

The script looks for the program that the variable ``CHROMIUM`` names, or else for the usual program names. It installs
Debian's package if apt-get is there and the user is root or may use sudo without a password.
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
        The path, or None if no such program is found. If ``CHROMIUM`` is set, only that program is looked for.
    """
    named = os.environ.get(VARIABLE)
    return next(filter(None, map(shutil.which, (named,) if named else NAMES)), None)


def main() -> None:
    """Install Chromium unless the machine has one."""
    if find_chromium():
        return
    if named := os.environ.get(VARIABLE):
        sys.exit(f"{VARIABLE} is set to {named}, and no such program exists: correct it or unset it.")
    apt, root = shutil.which("apt-get"), root_prefix()
    if apt is None or root is None:
        sys.exit(MISSING)
    print("Installing Chromium", flush=True)
    apt_get = [*root, apt, "-o", "DPkg::Lock::Timeout=300"]  # seconds to wait for another installation to end
    for command in (["update", "--quiet=2"], ["install", "--yes", "--quiet=2", "--no-install-recommends", "chromium"]):
        if subprocess.run([*apt_get, *command], stdout=subprocess.DEVNULL).returncode:
            sys.exit(MISSING)


def root_prefix() -> list[str] | None:
    """Return the words that make a command run as root.

    Returns:
        An empty list if this process runs as root, the call of sudo if sudo asks for no password, otherwise None.
    """
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "--non-interactive", "true"], capture_output=True).returncode:
        return None
    return [sudo, "--non-interactive"]


if __name__ == "__main__":
    main()
