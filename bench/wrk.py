"""The load: wrk, with requests of ours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from api.core.embedded.errors import EmbeddedError
from bench.cores import Cores, busy_seconds, pinned
from bench.usage import cpu_seconds

_SCRIPT = Path(__file__).with_name("wrk.lua")
_TIMEOUT_SECONDS = 10
_BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate",
    "Referer": "https://news.example.org/item?id=4711",
}


@dataclass(frozen=True, kw_only=True)
class Requests:
    """What is asked: one of the paths at random, with these headers; with a body, always anew."""

    paths: Sequence[str]
    headers: Mapping[str, str]
    method: str = "GET"
    status: int = 200  # what must be answered
    body: str | None = None  # %d in it becomes a number of its own

    @classmethod
    def of_browser(cls, paths: Sequence[str]) -> Requests:
        """As a browser asks that follows a link on a page."""
        return cls(paths=paths, headers=_BROWSER, status=302)

    def arguments(self, folder: Path, *, strict: bool) -> list[str]:
        """For the script; what is long goes into files of this folder."""
        headers = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        (folder / "headers").write_text(headers)
        (folder / "paths").write_text("".join(f"{path}\n" for path in self.paths))
        files = [str(folder / "paths"), str(folder / "headers")]
        status = str(self.status if strict else 0)
        return [self.method, *files, status, *([self.body] if self.body else [])]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One load on one server, and what the cores did meanwhile, in shares of one core."""

    requests: int
    requests_per_second: float
    requests_per_cpu_second: float  # of the server's own processes
    p50_ms: float
    p99_ms: float
    server_cpu: float
    load_cpu: float
    others_cpu: float  # on the server's cores, by neither the server nor the load
    errors: dict[str, int]


def run(
    requests: Requests,
    *,
    port: int,
    process_id: int,
    cores: Cores,
    connections: int,
    seconds: int,
    folder: Path,
    strict: bool = False,
    scheme: str = "http",
) -> Run:
    """Put a load on the server that `process_id` and its children are.

    When `strict` each answer's status is looked at, which the load takes time for; else those of
    400 and above are errors.

    Raises:
        EmbeddedError: wrk failed.
    """
    command = ["wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", f"{_TIMEOUT_SECONDS}s"]
    command += ["--script", str(_SCRIPT), f"{scheme}://127.0.0.1:{port}{requests.paths[0]}", "--"]
    command += requests.arguments(folder, strict=strict)
    server, busy, before = cpu_seconds(process_id), busy_seconds(cores.server), os.times()
    with pinned(cores.load):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    after = os.times()
    server, busy = cpu_seconds(process_id) - server, busy_seconds(cores.server) - busy
    if done.returncode != 0:
        raise EmbeddedError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    elapsed = after.elapsed - before.elapsed
    load = after.children_user + after.children_system
    load -= before.children_user + before.children_system
    others = busy - server - (load if cores.load & cores.server else 0)
    return Run(
        requests=found["requests"],
        requests_per_second=found["requests"] / found["seconds"],
        requests_per_cpu_second=found["requests"] / max(server, 0.01),
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        server_cpu=server / elapsed,
        load_cpu=load / elapsed,
        others_cpu=max(others, 0) / elapsed,
        errors={name: count for name, count in found["errors"].items() if count},
    )
