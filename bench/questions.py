"""How long questions about clicks take, on a year of them, over HTTP and without the cache."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

import psycopg2
from sqlalchemy import create_engine

from api.clicks.months import insert_month, month_of, next_month
from api.core.database.sessions import WriteSession, transaction
from api.core.embedded.errors import EmbeddedError
from bench.distributions import Milliseconds
from tests.chaos.system import PrivateSystem

START = datetime(2025, 2, 1, tzinfo=UTC)
END = START + timedelta(days=365)
SETTINGS = {"STATS_CACHE_SECONDS": "0"}

# Weighted as arrays are: what is there more often is chosen more often.
_COUNTRIES = "US US US US DE DE GB GB FR FR IN IN JP BR ES NL AU CA IT PL SE CH".split()
_REFERRERS = ["", "", "", "", "google.com", "google.com", "t.co", "reddit.com", "bing.com"]
_BROWSERS = ["Chrome"] * 5 + ["Chrome Mobile"] * 3 + ["Mobile Safari"] * 3 + ["Firefox", "Edge"]
_SYSTEMS = ["Windows"] * 4 + ["Android"] * 3 + ["iOS"] * 3 + ["Mac OS X", "Linux"]
_DEVICES = ["desktop", "desktop", "mobile", "mobile", "tablet"]
_LANGUAGES = "en en en en de de fr es nl ja pt".split()
_SOURCES = [""] * 7 + ["newsletter", "twitter", "google"]
_VISITORS = 500_000

# A link is chosen with a chance of one over its rank, Zipf's law: the logarithm of the rank is
# uniform. Its clicks spread evenly over the month. `random()` comes from one seed.
_FILL = """
    INSERT INTO clicks (slot, link_id, clicked_at, id, workspace_id, visitor, bot, country,
        referrer, browser, system, device, language, utm_source)
    SELECT link.slot, link.id, click.at, click.number, %(workspace)s,
        hashint8extended(click.visitor, click.at::date - date '2025-01-01'), click.bot,
        click.country, click.referrer, click.browser, click.system, click.device,
        click.language, click.source
    FROM (
        SELECT number, power(%(links)s, random())::int AS rank,
            %(first)s + random() * (%(end)s - %(first)s) AS at,
            (random() * %(visitors)s)::bigint AS visitor, random() < 0.06 AS bot,
            {choices}
        FROM generate_series(%(from)s, %(to)s) AS number
    ) AS click JOIN bench_links AS link USING (rank)
"""
_CHOICES = {
    "country": _COUNTRIES,
    "referrer": _REFERRERS,
    "browser": _BROWSERS,
    "system": _SYSTEMS,
    "device": _DEVICES,
    "language": _LANGUAGES,
    "source": _SOURCES,
}


@dataclass(frozen=True, kw_only=True)
class QuestionFigures:
    """The latency of each question, on so many clicks."""

    clicks: int
    links: int
    fill_seconds: float
    rebuild_seconds: float
    latency: dict[str, Milliseconds]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        return [
            ("clicks, links", f"{self.clicks:,}, {self.links:,}"),
            ("raw clicks made in", f"{self.fill_seconds:.0f} s"),
            ("counts made by scripts/rebuild-stats in", f"{self.rebuild_seconds:.0f} s"),
            *((name, str(latency)) for name, latency in self.latency.items()),
        ]


def measure_questions(
    system: PrivateSystem,
    *,
    clicks: int,
    links: int,
    seed: int,
    repeats: int,
    progress: Callable[[int], None],
) -> QuestionFigures:
    """Fill a running system with a year of clicks, and ask.

    Raises:
        EmbeddedError: the counts cannot be made, or do not hold every click.
    """
    made = system.create_links(links)
    started = time.monotonic()
    with closing(psycopg2.connect(system.postgres.url)) as connection:
        for done in _fill(system, connection, made, clicks, seed):
            progress(done)
    fill_seconds = time.monotonic() - started
    started = time.monotonic()
    system.run_script("scripts/rebuild-stats", aloud=True)
    rebuild_seconds = time.monotonic() - started
    with closing(psycopg2.connect(system.postgres.url)) as connection:
        connection.autocommit = True
        _execute(connection, "VACUUM ANALYZE")
    asked = system.call("GET", f"/api/v1/stats?{_period()}&interval=month&bots=include")
    if asked["total"]["clicks"] != clicks:
        raise EmbeddedError(f"{asked['total']['clicks']:,} of {clicks:,} clicks are counted")
    hottest, median = made[0]["id"], made[links // 2]["id"]
    latency = {
        name: _ask(system, path, repeats) for name, path in _questions(hottest, median).items()
    }
    return QuestionFigures(
        clicks=clicks,
        links=links,
        fill_seconds=fill_seconds,
        rebuild_seconds=rebuild_seconds,
        latency=latency,
    )


def _questions(hottest: str, median: str) -> dict[str, str]:
    subjects = {
        "hottest link": f"/api/v1/links/{hottest}/stats",
        "median link": f"/api/v1/links/{median}/stats",
        "workspace": "/api/v1/stats",
    }
    kinds = {"by day": "interval=day", "by country": "interval=month&group_by=country"}
    return {
        f"year of the {subject}, {kind}": f"{path}?{_period()}&{options}"
        for subject, path in subjects.items()
        for kind, options in kinds.items()
    }


def _period() -> str:
    return f"from={START:%Y-%m-%dT%H:%M:%SZ}&to={END:%Y-%m-%dT%H:%M:%SZ}"


def _ask(system: PrivateSystem, path: str, repeats: int) -> Milliseconds:
    """Ask over one kept connection; the first answer, which warms everything, is not counted."""
    headers = {"Authorization": f"Bearer {system.key}"}
    durations = []
    with closing(HTTPConnection("127.0.0.1", system.port, timeout=60)) as connection:
        for _ in range(repeats + 1):
            started = time.perf_counter()
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            durations.append((time.perf_counter() - started) * 1000)
            if response.status != 200:
                raise EmbeddedError(f"{path} answered {response.status}: {body[:200]!r}")
    return Milliseconds.of(durations[1:])


def _fill(
    system: PrivateSystem, connection: Any, links: list[dict[str, Any]], clicks: int, seed: int
) -> Iterator[int]:
    """Make raw clicks, month by month; how many are done each time."""
    workspace = _prepare(connection, links)
    _make_months(system)
    _execute(connection, "SELECT setseed(%(seed)s)", {"seed": math.sin(seed)})
    total = (END - START).total_seconds()
    choices = ",\n            ".join(
        f"(%({name})s::text[])[1 + floor(random() * {len(values)})::int] AS {name}"
        for name, values in _CHOICES.items()
    )
    first, done = START, 0
    while first < END:
        end = min(next_month(month_of(first)), END)
        upto = round(clicks * (end - START).total_seconds() / total)
        values = {"workspace": workspace, "links": len(links), "visitors": _VISITORS}
        values |= {"first": first, "end": end, "from": done + 1, "to": upto}
        _execute(connection, _FILL.format(choices=choices), values | _CHOICES)
        connection.commit()
        yield upto - done
        first, done = end, upto
    _execute(
        connection,
        "INSERT INTO link_totals SELECT slot, link_id, count(*), max(clicked_at)"
        " FROM clicks GROUP BY 1, 2",
    )
    connection.commit()


def _prepare(connection: Any, links: list[dict[str, Any]]) -> int:
    """The links by rank, where the filling finds them; answers their workspace."""
    _execute(connection, "CREATE TEMPORARY TABLE bench_links (rank int, slot smallint, id bigint)")
    for rank, link in enumerate(links, 1):
        identifier = int(link["id"])
        values = {"rank": rank, "slot": identifier >> 12 & 1023, "id": identifier}
        _execute(connection, "INSERT INTO bench_links VALUES (%(rank)s, %(slot)s, %(id)s)", values)
    _execute(connection, "ANALYZE bench_links")
    with connection.cursor() as cursor:
        cursor.execute("SELECT workspace_id FROM links LIMIT 1")
        return int(cursor.fetchone()[0])


def _make_months(system: PrivateSystem) -> None:
    engine = create_engine(system.postgres.url.replace("://", "+psycopg2://", 1))
    month = START
    while month < END:
        with transaction(WriteSession, engine) as session:
            insert_month(session, month)
        month = next_month(month)
    engine.dispose()


def _execute(connection: Any, statement: str, values: dict[str, Any] | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
