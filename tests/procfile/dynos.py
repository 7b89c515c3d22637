"""Processes as Procfile hosts run them: each type of the Procfile by itself, in a copy of the tree
that nobody else has and that goes with it. What hosts call a dyno."""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.running import ROOT

# Where gunicorn, honcho and the Python of `#!/usr/bin/env python3` are.
_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# From SIGTERM to SIGKILL.
GRACE_SECONDS = 30.0


class Dyno:
    """A copy of the tree, and honcho, which runs one process of its Procfile there."""

    def __init__(self, slug: Path, folder: Path, name: str, settings: Mapping[str, str]) -> None:
        self.folder = shutil.copytree(slug, folder)
        self.name = name
        self._log = folder.with_name(f"{folder.name}.log")
        self._environ = {"PATH": _PATH, "HOME": str(folder.parent), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> str:
        """Run a command in it to its end, as `heroku run` does; what it printed."""
        done = subprocess.run(
            ["honcho", "run", *arguments],
            check=False,
            cwd=self.folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, port: int = 5000) -> None:
        """Start the process; honcho tells it the port."""
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(
                ["honcho", "start", "--no-colour", "-p", str(port), self.name],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> int:
        """Wait for its end; the exit status."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} goes on: {self.processes()}\n{self.log}") from None

    def terminate(self) -> None:
        """SIGTERM to all of it at once, and not only to its first process."""
        for process_id in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGTERM)

    def end(self) -> None:
        """Whatever is left of it, and its disk, go."""
        for process_id in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        while self.processes():
            time.sleep(0.02)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> dict[int, str]:
        """Ids and command lines of all that run in its folder."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "cwd").readlink() == self.folder:
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = line.decode(errors="replace")
        return found

    @property
    def log(self) -> str:
        """All that it printed."""
        return self._log.read_text(errors="replace")


def build_slug(folder: Path) -> Path:
    """What is deployed: what is in the repository as it is now, nothing of what lies beside it."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        source = ROOT / name
        # Neither is needed to run, and both are large.
        if not source.is_file() or name.startswith(("tests/", "bench/")):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    compileall.compile_dir(folder, quiet=1)
    return folder
