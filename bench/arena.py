"""What contestants share: PostgreSQL, Valkey, and the links that they all know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.core.embedded.supervisor import StopSignals
from api.core.embedded.valkey import EmbeddedValkey
from bench.contestants import Link
from bench.cores import Cores, pinned
from tests.chaos.system import PrivateSystem

# Clicks of the Express rival wait in Valkey until they are counted.
_VALKEY_MEMORY = "4gb"


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Private servers that run, and links."""

    folder: Path
    servers: PrivateSystem
    links: list[Link]
    ids: list[str]  # of the links in Signpost
    available: frozenset[int]  # cores


@contextmanager
def opened(
    folder: Path, signals: StopSignals, available: frozenset[int], links: int
) -> Iterator[Arena]:
    """Start the servers off the core of the contestants, and make the links.

    Raises:
        EmbeddedError: something does not start.
    """
    servers = PrivateSystem(folder, signals, broker=False)
    servers.valkey = EmbeddedValkey(folder / "valkey", maxmemory=_VALKEY_MEMORY)
    try:
        with pinned(Cores.for_workers(1, available).rest):
            servers.start_servers()
            servers.start_web()
        made = servers.create_links(links)
        servers.stop_parts("master")
        yield Arena(
            folder=folder,
            servers=servers,
            links=[Link(slug=one["slug"], url=one["url"]) for one in made],
            ids=[one["id"] for one in made],
            available=available,
        )
    finally:
        servers.stop()
