"""What it costs to move a whole shard to another server while everything goes on."""

from __future__ import annotations

import io
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg2

from api.clicks.folder import READY, new_segment_id
from api.clicks.records import header_line
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.postgres import EmbeddedPostgres
from api.core.ids import new_id, slot_of
from api.demo.visitors import visits
from bench.distributions import Milliseconds
from tests.chaos.system import PrivateSystem
from tests.running import BROWSER, ROOT

# Every redirect asks a database: what a cache knows is no business of a move.
SETTINGS = {
    "REDIRECT_CACHE_ENTRIES": "1",
    "REDIRECT_SHARED_SECONDS": "0",
    "REDIRECT_WARM_ENTRIES": "0",
}
_SEGMENT_CLICKS = 2_000
_VISITORS = 6
_WRITERS = 2
_WATCH_SECONDS = 0.02
_WARM_SECONDS = 3.0
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class MoveFigures:
    """A move, and what users noticed of it."""

    links: int
    clicks: int
    rows: int
    # By step: how long it took until it was done, summed over the parts of the move.
    steps: dict[str, float]
    seconds: float
    closed_seconds: float
    rows_per_second: float
    redirects_before: Milliseconds
    redirects_during: Milliseconds
    writes_before: Milliseconds
    writes_during: Milliseconds
    requests: dict[str, int]
    failed: int
    clicks_answered: int
    clicks_counted: int

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def rows_to_show(self) -> list[tuple[str, str]]:
        """For people."""
        requests = ", ".join(f"{name} {number:,}" for name, number in self.requests.items())
        return [
            (
                "links, clicks, rows of all tables",
                f"{self.links:,}, {self.clicks:,}, {self.rows:,}",
            ),
            ("the move, without the grace", f"{self.seconds:.1f} s"),
            ("  in rows of all tables", f"{self.rows_per_second:,.0f} rows/s"),
            *((f"  {step}, after", f"{took:.1f} s") for step, took in self.steps.items()),
            ("closed to writes, at the longest", f"{self.closed_seconds:.1f} s"),
            ("redirects before", str(self.redirects_before)),
            ("redirects during", str(self.redirects_during)),
            ("writes before", str(self.writes_before)),
            ("writes during", str(self.writes_during)),
            ("answers", requests),
            ("requests that failed", f"{self.failed:,}"),
            ("clicks answered, counted", f"{self.clicks_answered:,}, {self.clicks_counted:,}"),
        ]


class Users:
    """Visitors and writers of a running system, within a context."""

    def __init__(
        self, system: PrivateSystem, slugs: list[str], ids: list[int], rate: float
    ) -> None:
        self._system = system
        self._slugs = slugs
        self._ids = ids
        self._rate = rate
        self._end = threading.Event()
        self._phase = "warm"
        self.durations: dict[tuple[str, str], list[float]] = {}
        self.answers: Counter[str] = Counter()

    @contextmanager
    def about(self) -> Iterator[None]:
        """They come, and go."""
        tasks = [(self._visit, self._rate / _VISITORS)] * _VISITORS
        tasks += [(self._write, self._rate / 10 / _WRITERS)] * _WRITERS
        threads = [
            threading.Thread(target=self._repeat, args=(number, *task))
            for number, task in enumerate(tasks)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in threads:
                thread.join()

    def enter(self, phase: str) -> None:
        """What follows is written down under another name."""
        self._phase = phase

    def summed(self, kind: str, phase: str) -> Milliseconds:
        """The durations of a phase."""
        return Milliseconds.of(self.durations[kind, phase])

    def _repeat(
        self, seed: int, task: Callable[[HTTPConnection, random.Random], int], rate: float
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 - the same each time, not secret
        due = time.monotonic()
        with closing(HTTPConnection("127.0.0.1", self._system.port, timeout=30)) as connection:
            while not self._end.wait(max(due - time.monotonic(), 0)):
                phase, started = self._phase, time.perf_counter()
                status = task(connection, chance)
                took = (time.perf_counter() - started) * 1000
                kind = task.__name__.removeprefix("_")
                self.durations.setdefault((kind, phase), []).append(took)
                self.answers[f"{kind} {status}"] += 1
                due = max(due + 1 / rate, time.monotonic() - 0.5)

    def _visit(self, connection: HTTPConnection, chance: random.Random) -> int:
        headers = {"User-Agent": BROWSER}
        return _ask(connection, "GET", f"/{chance.choice(self._slugs)}", None, headers)

    def _write(self, connection: HTTPConnection, chance: random.Random) -> int:
        body = json.dumps({"title": f"title {chance.random()}"})
        path = f"/api/v1/links/{chance.choice(self._ids)}"
        headers = {"Authorization": f"Bearer {self._system.key}"}
        headers |= {"Content-Type": "application/merge-patch+json"}
        return _ask(connection, "PATCH", path, body, headers)


def measure_move(
    system: PrivateSystem,
    second: EmbeddedPostgres,
    *,
    links: int,
    clicks: int,
    rate: float,
    seconds: float,
    at_once: int,
    say: Callable[[str], object],
) -> MoveFigures:
    """Fill a system, let users come, and move all of its slots to the second server.

    Raises:
        EmbeddedError: the move failed, or something was lost or counted twice.
    """
    say("making links and clicks")
    system.start_web()
    system.create_links(1)
    slugs, ids = _make_links(system, links)
    _make_clicks(system, ids, clicks)
    system.start_consumer()
    system.run_script("scripts/shards", "add", "second", second.url)
    users = Users(system, slugs, ids, rate)
    with users.about():
        say("users come")
        _pause(system, _WARM_SECONDS)
        users.enter("before")
        _pause(system, seconds)
        users.enter("during")
        say("moving")
        moments, rows = _move(system, at_once)
        users.enter("after")
        _pause(system, 1.0)
    counted = _wait_for_clicks(system, second, clicks + users.answers["visit 302"])
    verdict = json.loads(system.run_script("scripts/shards", "verify", "--json"))
    if not verdict["ok"]:
        raise EmbeddedError(f"not all is where it should be: {verdict}")
    took = max(at for (_, step), at in moments.items() if step == "detached") - min(
        moments.values()
    )
    ordered = sorted(moments.items(), key=lambda moment: moment[1])
    steps: Counter[str] = Counter()
    for (_, before), ((_, step), at) in itertools.pairwise(ordered):
        steps[step] += at - before
    parts = {part for part, step in moments if step == "closed"}
    good = users.answers["visit 302"] + users.answers["write 200"]
    return MoveFigures(
        links=links,
        clicks=clicks,
        rows=rows,
        steps=dict(steps),
        seconds=took,
        closed_seconds=max(moments[part, "opened"] - moments[part, "closed"] for part in parts),
        rows_per_second=rows / took,
        redirects_before=users.summed("visit", "before"),
        redirects_during=users.summed("visit", "during"),
        writes_before=users.summed("write", "before"),
        writes_during=users.summed("write", "during"),
        requests=dict(users.answers),
        failed=users.answers.total() - good,
        clicks_answered=clicks + users.answers["visit 302"],
        clicks_counted=counted,
    )


def _pause(system: PrivateSystem, seconds: float) -> None:
    """Sleep, also while processes end, of which `wait` is told."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        system.wait(left)


def _make_links(system: PrivateSystem, count: int) -> tuple[list[str], list[int]]:
    """Links beside the one that is there; their slugs and ids."""
    slugs, ids, lines = [], [], []
    with closing(psycopg2.connect(system.postgres.url)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT workspace_id, domain FROM links")
            workspace, domain = cursor.fetchone() or (0, "")
            for number in range(count):
                slug = f"bench-{number}"
                slot = slot_of(domain, slug)
                slugs.append(slug)
                ids.append(new_id(slot))
                url = f"https://example.com/shop/articles/{number}?from=bench"
                lines.append(f"{slot}\t{ids[-1]}\t{workspace}\t{domain}\t{slug}\t{url}\n")
            columns = "slot, id, workspace_id, domain, slug, url"
            cursor.copy_expert(f"COPY links ({columns}) FROM STDIN", io.StringIO("".join(lines)))
        connection.commit()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE links")
    return slugs, ids


def _make_clicks(system: PrivateSystem, ids: list[int], count: int) -> None:
    """Clicks of the last month, counted as any others."""
    spool = system.home / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        closing(psycopg2.connect(system.postgres.url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT workspace_id FROM links LIMIT 1")
        (workspace,) = cursor.fetchone() or (0,)
    made = list(visits([(one, workspace) for one in ids], count, 30, datetime.now(UTC), 1))
    for place in range(0, count, _SEGMENT_CLICKS):
        part = made[place : place + _SEGMENT_CLICKS]
        name = new_segment_id(part[0].at_ms)
        lines = b"".join(record.to_line() for record in part)
        (spool / f"{name}{READY}").write_bytes(header_line(name, part[0].at_ms) + lines)
    system.run_script("scripts/consume-clicks", "--once")


def _move(system: PrivateSystem, at_once: int) -> tuple[dict[tuple[int, str], float], int]:
    """Move everything; when each step of each part was done, and how many rows there were."""
    arguments = ["scripts/shards", "move", "--slots", "0-1023", "--to", "second"]
    moments = {(0, "begun"): time.monotonic()}
    with closing(psycopg2.connect(system.postgres.url)) as connection:
        connection.autocommit = True
        mover = subprocess.Popen(
            [sys.executable, *arguments, "--grace", "1", "--at-once", str(at_once), "--json"],
            cwd=ROOT,
            env=system.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while mover.poll() is None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT id, step FROM slot_moves")
                for part in cursor.fetchall():
                    moments.setdefault(part, time.monotonic())
            system.wait(_WATCH_SECONDS)
    output, complaints = mover.communicate()
    if mover.returncode != 0:
        raise EmbeddedError(f"the move failed: {complaints.strip().splitlines()[-1]}")
    moves = json.loads(output)["moves"]
    return moments, sum(sum(move["rows"].values()) for move in moves)


def _wait_for_clicks(system: PrivateSystem, second: EmbeddedPostgres, expected: int) -> int:
    """How many clicks there are on both servers, as soon as it is right; else after a while."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        urls = (system.postgres.url, second.url)
        counted = sum(_number(url, "SELECT count(*) FROM clicks") for url in urls)
        if counted == expected or time.monotonic() > until:
            break
        system.wait(0.2)
    if counted != expected:
        raise EmbeddedError(f"{expected:,} clicks were answered, {counted:,} are counted")
    return counted


def _number(url: str, query: str) -> int:
    """A number that a database says."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return int((cursor.fetchone() or (0,))[0])


def _ask(
    connection: HTTPConnection, method: str, path: str, body: str | None, headers: dict[str, str]
) -> int:
    """The status of the answer, 0 where there is none."""
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
    except OSError:
        connection.close()
        return 0
    return response.status


def start_second(folder: Path, system: PrivateSystem) -> EmbeddedPostgres:
    """Another server, which is as durable."""
    server = EmbeddedPostgres(folder / "second")
    system.add(server)
    return server
