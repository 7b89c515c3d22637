"""The programs that the bench needs: where they are, and what to install when they are not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from api.core.embedded.errors import EmbeddedError
from tests.running import ROOT

EXPRESS = ROOT / "bench" / "rivals" / "express"
_PACKAGES = {"wrk": "wrk", "nginx": "nginx", "node": "nodejs", "npm": "npm"}
# Where distributions keep servers; not in everybody's PATH.
_SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_NODE = (20, 12)


def find(program: str) -> str:
    """The path of a program.

    Raises:
        EmbeddedError: it is not there; the message says how to get it.
    """
    found = shutil.which(program, path=_SEARCHED)
    if found is None:
        raise EmbeddedError(f"{program} is not installed: apt-get install {_PACKAGES[program]}")
    return found


def check() -> None:
    """Find everything, and install what the Express rival depends on, once.

    Raises:
        EmbeddedError: something is missing; the message names all of it.
    """
    missing = [name for name in _PACKAGES if shutil.which(name, path=_SEARCHED) is None]
    if missing:
        packages = " ".join(_PACKAGES[name] for name in missing)
        raise EmbeddedError(f"not installed: {', '.join(missing)} (apt-get install {packages})")
    version = _output([find("node"), "--version"]).removeprefix("v")
    if tuple(map(int, version.split(".")[:2])) < _NODE:
        raise EmbeddedError(f"Node {version} is too old: the Express rival needs 20.12 or newer")
    _install_packages(EXPRESS)


def _install_packages(folder: Path) -> None:
    """Install what the lock file names, unless that was done since it changed."""
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = [find("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "warn" not in line]
        reason = lines[0] if lines else f"exit status {done.returncode}"
        raise EmbeddedError(f"npm ci failed in {folder}: {reason}")


def versions() -> dict[str, str]:
    """Of what is measured, and of what measures."""
    nginx = subprocess.run([find("nginx"), "-v"], check=False, capture_output=True, text=True)
    wrk = subprocess.run([find("wrk"), "-v"], check=False, capture_output=True, text=True)
    return {
        "Node": _output([find("node"), "--version"]).removeprefix("v"),
        "nginx": nginx.stderr.strip().partition("/")[2],
        "wrk": wrk.stdout.split()[1].removeprefix("debian/"),
    }


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
