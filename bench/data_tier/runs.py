"""What is measured of the data tier: each part compares arrangements under one load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from api.core.embedded.errors import EmbeddedError
from api.core.embedded.valkey import EmbeddedValkey
from bench.data_tier.quota import quota
from bench.data_tier.servers import Rows, new_database, servers_running
from bench.distributions import Milliseconds
from tests.running import ROOT, clean_environ, wait_until
from tests.services.network import free_ports
from tests.services.replication import replicated

# Of a core, for each server: little, so that the servers are what is short, and not who asks them.
SHARE = 0.08
# From one end to the other, as within a region of a cloud.
DISTANCE_SECONDS = 0.002
KINDS = {"link": "one link by its id", "list": "a list of 50"}
POOLS = (2, 5, 10, 20)
SHARDS = (1, 2, 4)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one arrangement did under one load."""

    name: str
    reads_per_second: float
    latency: Milliseconds
    # Milliseconds of each server's CPU for 1,000 reads.
    cpu: Sequence[float]
    # Of the process that asked, in cores.
    own_cpu: float
    failed: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arrangements that were under the same load; the first is what the others are held to."""

    part: str
    title: str
    figures: Sequence[Figures]

    def ratio(self, figures: Figures) -> float:
        """By how much one read more than the first."""
        return figures.reads_per_second / self.figures[0].reads_per_second

    def busiest(self, figures: Figures) -> float:
        """By how much less CPU the busiest server needed for a read than that of the first: so
        many times as much servers of their own could carry."""
        return max(self.figures[0].cpu) / max(figures.cpu)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where, and how much."""

    folder: Path
    redis: EmbeddedValkey
    links: int
    seconds: float
    readers: int = 32
    progress: Any = field(default=lambda _: None)

    def replicas(self) -> Iterator[Comparison]:
        """The primary alone, and with two replicas."""
        rows = Rows(self.links)
        with replicated(self.folder / "replicated", standbys=2) as group:
            rows.put([group.primary.url])
            group.settle()
            servers = [group.primary, *group.standbys]
            alone = {"DATABASE_URL": group.primary.url}
            replicas = ",".join(standby.url for standby in group.standbys)
            arrangements = {
                "primary only": alone,
                "primary, 2 replicas": alone | {"DATABASE_REPLICA_URLS": replicas},
            }
            processes = [int(server.process_id or 0) for server in servers]
            yield from self._compare("replicas", arrangements, rows, processes)

    def shards(self) -> Iterator[Comparison]:
        """One shard, and two."""
        rows = Rows(self.links)
        with servers_running(self.folder / "sharded", 2) as servers:
            arrangements = {
                f"{number} shard{'s' * (number > 1)}": _spread(rows, servers, number)
                for number in (1, 2)
            }
            processes = [int(server.process_id or 0) for server in servers]
            yield from self._compare("shards", arrangements, rows, processes)

    def pools(self) -> Iterator[Comparison]:
        """Pools of different sizes, on a server at a distance."""
        rows = Rows(self.links)
        with servers_running(self.folder / "pooled", 1) as servers:
            near = _spread(rows, servers, 1)
            with self._at_a_distance(near) as far:
                figures = [
                    self._run(
                        f"{size} connections",
                        far | {"DB_POOL_SIZE": str(size), "DB_MAX_OVERFLOW": "0"},
                        rows,
                        "link",
                        [int(servers[0].process_id or 0)],
                    )
                    for size in POOLS
                ]
        title = f"{self.readers} readers of {KINDS['link']}, the server {_distance()}"
        yield Comparison(part="pools", title=title, figures=figures)

    def lists(self) -> Iterator[Comparison]:
        """The latency of a list across shards."""
        rows = Rows(self.links)
        with servers_running(self.folder / "listed", max(SHARDS)) as servers:
            arrangements = {number: _spread(rows, servers, number) for number in SHARDS}
            processes = [int(server.process_id or 0) for server in servers]
            for far in (False, True):
                figures = []
                for number, environ in arrangements.items():
                    place = self._at_a_distance(environ) if far else nullcontext(environ)
                    name = f"{number} shard{'s' * (number > 1)}"
                    with place as there:
                        figures.append(
                            self._run(name, there, rows, "list", processes[:number], readers=1)
                        )
                where = _distance() if far else "on this machine"
                yield Comparison(
                    part="lists",
                    title=f"One reader of a list of 50, servers {where}",
                    figures=figures,
                )

    def _compare(
        self,
        part: str,
        arrangements: Mapping[str, Mapping[str, str]],
        rows: Rows,
        processes: Sequence[int],
    ) -> Iterator[Comparison]:
        """Each kind of read, with a quota for each server and without."""
        for kind, told in KINDS.items():
            for limited in (True, False):
                figures = []
                for name, environ in arrangements.items():
                    limit = quota(SHARE, processes) if limited else nullcontext()
                    with limit:
                        figures.append(self._run(name, environ, rows, kind, processes))
                where = f"each server with {SHARE:.0%} of a core" if limited else "no quota"
                yield Comparison(part=part, title=f"{told}, {where}", figures=figures)

    def _run(
        self,
        name: str,
        environ: Mapping[str, str],
        rows: Rows,
        kind: str,
        servers: Sequence[int],
        readers: int | None = None,
    ) -> Figures:
        """One load in a process of its own."""
        task = {"ids": rows.ids, "kind": kind, "seconds": self.seconds, "servers": list(servers)}
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        settings = {"REDIS_URL": self.redis.url, "SECRET_KEY": token_hex()}
        done = subprocess.run(
            [sys.executable, "-m", "bench.data_tier.load"],
            input=json.dumps(task | {"readers": readers or self.readers}),
            check=False,
            cwd=ROOT,
            env=clean_environ(home, **(settings | environ)),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"{name}: the load failed: {done.stderr.strip()[-2_000:]}")
        self.progress(1)
        return _figures(name, json.loads(done.stdout))

    @contextmanager
    def _at_a_distance(self, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """The same with each server behind a network."""
        with ExitStack() as stack:
            moved = dict(environ)
            pairs = []
            for port in _ports(environ):
                (listen,) = free_ports(1)
                pairs.append(f"{listen}={port}")
                moved = {
                    key: text.replace(f":{port}/", f":{listen}/") for key, text in moved.items()
                }
            command = [sys.executable, "-m", "bench.data_tier.distance", str(DISTANCE_SECONDS)]
            network = stack.enter_context(
                subprocess.Popen(
                    [*command, *pairs], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            assert network.stdin and network.stdout  # noqa: S101 - they were asked for
            stack.callback(network.stdin.close)
            network.stdout.readline()
            yield moved


def started_redis(folder: Path) -> EmbeddedValkey:
    """A Valkey that remembers nothing."""
    (port,) = free_ports(1)
    redis = EmbeddedValkey(folder / "valkey", port=port, durable=False)
    redis.start()
    wait_until(redis.ready)
    return redis


def _spread(rows: Rows, servers: Sequence[Any], number: int) -> dict[str, str]:
    """Put the links on so many shards; the settings of who reads them."""
    urls = [new_database(server, f"over_{number}") for server in servers[:number]]
    rows.put(urls)
    listed = ",".join(f"shard{place}={url}" for place, url in enumerate(urls[1:], 1))
    return {"DATABASE_URL": urls[0], "SHARD_URLS": listed}


def _ports(environ: Mapping[str, str]) -> list[str]:
    urls = [environ["DATABASE_URL"], *filter(None, environ["SHARD_URLS"].split(","))]
    return [url.rpartition(":")[2].partition("/")[0] for url in urls]


def _distance() -> str:
    return f"{DISTANCE_SECONDS * 2_000:.0f} ms away and back"


def _figures(name: str, told: Mapping[str, Any]) -> Figures:
    reads = len(told["durations"])
    if not reads:
        raise EmbeddedError(f"{name}: nothing was read")
    return Figures(
        name=name,
        reads_per_second=reads / told["seconds"],
        latency=Milliseconds.of(told["durations"]),
        cpu=[used / reads * 1e6 for used in told["cpu"]],
        own_cpu=told["own_cpu"] / told["seconds"],
        failed=told["failed"],
    )
