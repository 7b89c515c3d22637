"""Scripts as processes of their own, begun within milliseconds.

Python takes half a second to load what a script imports, and the tests start hundreds of them. One
process for each that runs tests loads it all once, and forks for every script: what is forked has
its own environment, arguments, folder and output, as if it were started anew.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_SCRIPTS = ROOT / "scripts"
# What measures, and who serves, reads its environment as it is loaded.
_LEFT_OUT = ("api.app", "bench", "tests", "_")
_LENGTH_BYTES = 4


def run_script(
    name: str,
    *arguments: object,
    env: Mapping[str, str],
    given: str = "",
    cwd: Path = ROOT,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `scripts/NAME` in the environment `env` to its end; what `subprocess.run` would answer.

    Raises:
        subprocess.TimeoutExpired: it took too long, and was killed.
    """
    request = {
        "script": str(_SCRIPTS / name),
        "arguments": [os.fspath(it) if isinstance(it, Path) else str(it) for it in arguments],
        "environ": dict(env),
        "folder": str(cwd),
        "seconds": timeout,
    }
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        files[0].write(given)
        files[0].seek(0)
        status = _parent().run(request, [file.fileno() for file in files])
        texts = []
        for file in files[1:]:
            file.seek(0)
            texts.append(file.read())
    if status is None:
        raise subprocess.TimeoutExpired(name, timeout, *texts)
    return subprocess.CompletedProcess([name, *request["arguments"]], status, *texts)


class _Parent:
    """The process that forks, seen from the tests."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._connection = ours
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scripting", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        atexit.register(self._end)

    def run(self, request: Mapping[str, Any], files: list[int]) -> int | None:
        """Have a script run; its exit status as of `subprocess`, None where it took too long."""
        with self._lock:
            body = json.dumps(request).encode()
            head = len(body).to_bytes(_LENGTH_BYTES, "big")
            socket.send_fds(self._connection, [head], files)
            self._connection.sendall(body)
            status: int | None = json.loads(_read(self._connection))
        return status

    def _end(self) -> None:
        self._connection.close()
        self._process.wait(10)


@functools.cache
def _parent() -> _Parent:
    return _Parent()


def _read(connection: socket.socket) -> bytes:
    """The next message; nothing once the other side is gone."""
    head = connection.recv(_LENGTH_BYTES, socket.MSG_WAITALL)
    return connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)


class _Asked(NamedTuple):
    """A script that is to run in this process."""

    script: Path
    arguments: list[str]


def _serve(connection: socket.socket) -> _Asked:
    """Fork for each request; ends in the processes that were forked, and with the tests."""
    while True:
        head, files, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, 3)
        if not head:
            sys.exit()
        body = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        request = json.loads(body)
        child = os.fork()
        if child == 0:
            connection.close()
            return _become(request, files)
        for file in files:
            os.close(file)
        answer = json.dumps(_wait(child, request["seconds"])).encode()
        connection.sendall(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)


def _wait(child: int, seconds: float) -> int | None:
    """The exit status of a child; None where it had to be killed."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        os.kill(child, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.start()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    timer.cancel()
    timer.join()
    return None if late.is_set() else status


def _become(request: Mapping[str, Any], files: list[int]) -> _Asked:
    """Make this process what a new one would be."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["folder"])
    return _Asked(Path(request["script"]), request["arguments"])


def _imports() -> Iterator[str]:
    """What scripts import as they are loaded."""
    for path in sorted(_SCRIPTS.iterdir()):
        if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env python3"):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module
                elif isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)


def _main() -> None:
    for name in sorted(set(_imports())):
        if not name.startswith(_LEFT_OUT):
            importlib.import_module(name)
    gc.freeze()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [str(asked.script), *asked.arguments]
    sys.path[0] = str(asked.script.parent)
    runpy.run_path(str(asked.script), run_name="__main__")


if __name__ == "__main__":
    _main()
