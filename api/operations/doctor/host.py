"""What this host allows: open files, memory, and connections that wait to be accepted."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from api.core.load import read_loads
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.subject import Subject

# Beside clients: pools, Redis, the broker, segments, modules.
_OTHER_FILES = 200
# gunicorn's default of `backlog`.
_BACKLOG = 2_048
# Measured: a worker after some thousand requests, without its cache.
_WORKER_BYTES = 120_000_000
_PLENTY = 1 << 50
_CGROUPS = Path("/sys/fs/cgroup")


def look(subject: Subject) -> Iterator[Finding]:
    """As the web workers have it, where they run; else as this shell would give it to them."""
    loads = read_loads(subject.settings.load_path, tidy=False)
    pid = loads[0].pid if loads else None
    yield _files(subject, pid)
    yield _memory(subject, len(loads), pid)
    yield from _backlog()


def _files(subject: Subject, pid: int | None) -> Finding:
    needed = subject.settings.gunicorn_worker_connections + _OTHER_FILES
    allowed, whose = _allowed_files(pid)
    found = f"{whose} may open {allowed}, and needs {needed}"
    if allowed < needed:
        advice = "Raise the limit (LimitNOFILE of systemd), or lower GUNICORN_WORKER_CONNECTIONS."
        return wrong("open files", found, advice, f"ulimit -n {max(needed, 4096)}")
    return ok("open files", found)


def _allowed_files(pid: int | None) -> tuple[int, str]:
    if pid is not None:
        with suppress(OSError):
            limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
            if told := re.search(r"^Max open files +(\d+)", limits, re.MULTILINE):
                return int(told[1]), "each web worker"
    # The soft limit is what a server that is started from here has.
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0], "a process started from here"


def _memory(subject: Subject, running: int, pid: int | None) -> Finding:
    settings = subject.settings
    workers = max(settings.web_concurrency, running)
    if "AUTOSCALE_MAX_WORKERS" in subject.environ:
        workers = max(workers, settings.autoscale_max_workers)
    needed = workers * (_WORKER_BYTES + settings.redirect_cache_bytes)
    allowed, whose = _allowed_memory(pid)
    found = f"{workers} web workers may take {_giga(needed)} of {_giga(allowed)} ({whose})"
    if needed > allowed:
        advice = "Lower WEB_CONCURRENCY or REDIRECT_CACHE_BYTES, or give it more memory."
        return warning("memory", found, advice)
    return ok("memory", found)


def _allowed_memory(pid: int | None) -> tuple[int, str]:
    """The limit of the control group, if there is one below what the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    groups = [_CGROUPS / "memory.max", _CGROUPS / "memory" / "memory.limit_in_bytes"]
    with suppress(OSError):
        for line in Path(f"/proc/{pid or 'self'}/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            folder = _CGROUPS / path.lstrip("/")
            if not controllers:
                groups += [up / "memory.max" for up in (folder, *folder.parents)]
            elif "memory" in controllers.split(","):
                groups.append(_CGROUPS / "memory" / path.lstrip("/") / "memory.limit_in_bytes")
    limits = [machine]
    for group in groups:
        with suppress(OSError, ValueError):  # "max" is no number
            limits.append(int(group.read_text(encoding="ascii")))
    least = min(limits)
    return (machine, "the machine") if least >= machine else (least, "the control group")


def _backlog() -> Iterator[Finding]:
    try:
        most = int(Path("/proc/sys/net/core/somaxconn").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return  # not Linux
    found = f"{most} connections may wait to be accepted"
    if most < _BACKLOG:
        advice = "Under a burst more are refused."
        yield warning("somaxconn", found, advice, f"sysctl -w net.core.somaxconn={2 * _BACKLOG}")
    else:
        yield ok("somaxconn", found)


def _giga(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
