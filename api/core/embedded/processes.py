"""Start a child process that cannot outlive us, and stop it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from api.core.embedded.accounts import Account

_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 10_000_000

# Loaded before any fork: a forked child must not import.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    arguments: Sequence[str],
    *,
    death_signal: signal.Signals,
    account: Account | None = None,
    log: Path | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    inherit: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches us alone.

    On Linux the child gets `death_signal` when we die without having stopped it. The kernel ties
    that to the thread that forked, so call this from the main thread.
    """
    account = account or Account()
    stream: IO[bytes] | None = _open_log(log) if log else None
    options: dict[str, Any] = account.popen_options()
    if account.capability is None:
        options["preexec_fn"] = _die_with_parent(death_signal)
    try:
        return subprocess.Popen(
            account.command(arguments, death_signal),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=None if environ is None else dict(environ),
            cwd=folder,
            pass_fds=tuple(inherit),
            start_new_session=True,
            **options,
        )
    finally:
        if stream is not None:
            stream.close()


def stop(
    process: subprocess.Popen[bytes], signals: Sequence[tuple[signal.Signals, float]]
) -> int | None:
    """Send each signal and wait that many seconds for the end; SIGKILL last.

    Answers the exit status, or None if it had ended before.
    """
    if process.poll() is not None:
        return None
    for number, seconds in signals:
        process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return process.wait()


def last_line(log: Path, otherwise: str) -> str:
    """The last thing that a log says, for a message about a server that did not start."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return otherwise
    telling = [line for line in lines[-20:] if "FATAL" in line or "ERROR" in line]
    return (telling or lines or [otherwise])[-1].strip()


def _open_log(path: Path) -> IO[bytes]:
    """Append to a log; one that has grown large is set aside first, over the one before it."""
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    libc, parent = _libc, os.getpid()
    if libc is None:
        return None

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), number)

    return prepare
