"""Servers that are in no wheel: Debian's packages, installed once, and never as system services."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def can_install() -> bool:
    """Whether packages may be installed here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: str, units: Sequence[str]) -> None:
    """Install a package, without starting its `units` of systemd now or at the next boot."""
    sys.stderr.write(f"Installing {package} with apt-get, once ...\n")
    with _no_services():
        _apt("update") and _apt("install", "--yes", "--no-install-recommends", package)
    # Nobody asked for the system's own server.
    if shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", *units], check=False, capture_output=True)


def _apt(*arguments: str) -> bool:
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Another process may be installing, too.
    command = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=120", *arguments]
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
    if done.returncode != 0:
        sys.stderr.write(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.returncode == 0


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep apt from starting what it installs: Debian asks /usr/sbin/policy-rc.d before it does."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield  # somebody decides that already
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
