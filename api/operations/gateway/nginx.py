"""The nginx that runs a configuration: whether it takes one, and how it gets a new one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

from api.core.embedded.errors import EmbeddedError

# Where distributions keep servers; not in everybody's PATH.
_SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_FOLDERS = ("temporary", "acme/.well-known/acme-challenge", "cache")
_TEST_SECONDS = 60


class GatewayError(EmbeddedError):
    """nginx does not take a configuration, or cannot be told of it."""


def find_program() -> str | None:
    """The program, if it is installed."""
    return shutil.which("nginx", path=_SEARCHED)


def prepare(home: Path) -> None:
    """Make the folders that nginx expects."""
    for name in _FOLDERS:
        (home / name).mkdir(parents=True, exist_ok=True)
        # nginx's workers are another account's, where its master is root.
        (home / name).chmod(0o755)


def closed_to_workers(home: Path, user: str | None) -> Path | None:
    """The first folder on the way to `home` that only its owner may enter, where nginx's workers
    will run under an account that is not ours: they would see no challenge and no switch there."""
    if os.geteuid() != 0 or user == "root":
        return None
    way = [*reversed(home.parents), home]
    return next((path for path in way if not path.stat().st_mode & stat.S_IXOTH), None)


def test(program: str, text: str, home: Path) -> None:
    """Let nginx read a configuration, and everything that it names.

    Raises:
        GatewayError: with nginx's own reason.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as draft:
        draft.write(text)
        draft.flush()
        done = subprocess.run(
            [program, "-t", "-q", "-p", str(home), "-c", draft.name],
            check=False,
            capture_output=True,
            text=True,
            timeout=_TEST_SECONDS,
        )
    if done.returncode != 0:
        raise GatewayError(f"nginx refuses the configuration: {_reason(done.stderr)}")


def reload(home: Path) -> bool:
    """Tell the nginx of this folder to read its configuration; whether there is one running.

    It goes on with the old one where it cannot use the new one.
    """
    try:
        process_id = int((home / "nginx.pid").read_text())
        os.kill(process_id, signal.SIGHUP)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return False
    return True


def _reason(output: str) -> str:
    lines = [line for line in output.splitlines() if "[emerg]" in line or "[crit]" in line]
    line = (lines or output.strip().splitlines() or ["it does not say why"])[0]
    return re.sub(r"^.*?\[\w+\](?: \d+#\d+:)? ", "", line)
