"""Where the time of a consumer goes.

python -m bench.timed_consumer    counts what waits in the spool, and prints the stages as JSON

The functions of each stage and the driver's own calls are timed; what a stage calls that is a
stage of its own is not its time. Parts of a consumer may run side by side, so the seconds on the
clock may add up to more than the run took; those of CPU do not.
"""

from __future__ import annotations

import functools
import gc
import inspect
import json
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

import psycopg2
import psycopg2.extensions

from api.clicks import ingest, store
from api.clicks.enrichment.enricher import Enricher
from api.core.embedded.settings import load_settings
from api.stats.service import StatsService
from tests.running import ROOT

_STATEMENT = re.compile(
    r"\s*(?:(COPY|INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)|(SELECT)\b.*?\bFROM\s+(\w+))", re.S
)


@dataclass
class Spent:
    """What a stage took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    calls: int = 0


class Stages:
    """The time of each stage; safe for threads, each of which has a stack of its own."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, Spent] = defaultdict(Spent)
        self._local = threading.local()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Spend the time of this context on a stage, and not on the one around it."""
        outer = getattr(self._local, "inner", None)
        self._local.inner = inner = Spent()
        started, cpu_started = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            cpu_seconds = time.thread_time() - cpu_started
            spent = self.spent[name]
            spent.seconds += seconds - inner.seconds
            spent.cpu_seconds += cpu_seconds - inner.cpu_seconds
            spent.calls += 1
            if outer is not None:
                outer.seconds += seconds
                outer.cpu_seconds += cpu_seconds
            self._local.inner = outer

    def wrap(self, name: str, owner: Any, attribute: str) -> None:
        """Time a function where its callers find it."""
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*arguments: Any, **keywords: Any) -> Any:
            with self(name):
                return function(*arguments, **keywords)

        static = isinstance(inspect.getattr_static(owner, attribute), staticmethod)
        setattr(owner, attribute, staticmethod(timed) if static else timed)

    def wrap_driver(self) -> None:
        """Time each statement and commit, by what the driver is asked."""
        stages = self

        class Cursor(psycopg2.extensions.cursor):
            def execute(self, query: Any, values: Any = None) -> None:
                with stages(_statement(query)):
                    super().execute(query, values)

            def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
                with stages(_statement(sql)):
                    super().copy_expert(sql, file, size)

        class Connection(psycopg2.extensions.connection):
            def cursor(self, *arguments: Any, **keywords: Any) -> Any:
                return super().cursor(*arguments, **{"cursor_factory": Cursor, **keywords})

            def commit(self) -> None:
                with stages("commit"):
                    super().commit()

        connect = psycopg2.connect
        psycopg2.connect = functools.partial(connect, connection_factory=Connection)


def _statement(query: Any) -> str:
    """`insert into click_counts`: what a statement does to which table."""
    found = _STATEMENT.match(query.decode() if isinstance(query, bytes) else str(query))
    return " ".join(filter(None, found.groups())).lower() if found else "other statements"


def _load_consumer() -> Callable[..., Any]:
    """`make_consumer` of scripts/consume-clicks, so that what is timed is what runs."""
    path = str(ROOT / "scripts" / "consume-clicks")
    sys.path.insert(0, str(ROOT / "scripts"))
    spec = spec_from_loader("consume_clicks", SourceFileLoader("consume_clicks", path))
    assert spec is not None and spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[..., Any] = module.make_consumer
    return made


def main() -> None:
    """Count what waits, and tell where the time went."""
    stages = Stages()
    stages.wrap("parse", ingest, "read_segment")
    stages.wrap("enrich", Enricher, "enrich")
    stages.wrap("fold", StatsService, "fold")
    stages.wrap("raw rows as text", store, "copy_rows")
    stages.wrap("prepare, the rest", ingest.Ingest, "prepare")
    stages.wrap("write, the rest", ingest.Ingest, "write")
    stages.wrap_driver()
    consumer = _load_consumer()(load_settings())
    gc.freeze()  # as the script does
    with stages("all else, and waiting"):
        started, cpu_started = time.perf_counter(), time.process_time()
        consumer.drain()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    rows = {
        name: [spent.seconds, spent.cpu_seconds, spent.calls]
        for name, spent in stages.spent.items()
    }
    figures = {"clicks": consumer.total.clicks, "seconds": seconds, "cpu_seconds": cpu}
    print(json.dumps(figures | {"stages": rows}))  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    main()
