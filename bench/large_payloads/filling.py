"""Makes what is carried: a file of links, and clicks that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import psycopg2

from api.clicks.partitions import Partitions
from api.core.database.routing import Database
from config.settings import Settings

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_DAYS = 20

# Every link has as many, in the order in which the primary key wants them: what is measured is how
# they leave.
_CLICKS = """
    INSERT INTO clicks (slot, link_id, clicked_at, id, workspace_id, visitor, bot, country,
                        referrer, browser, system, device, language)
    SELECT link.slot, link.id, %(begin)s + number * %(step)s, link.id + number,
           link.workspace_id, hashint8(number), number %% 50 = 0,
           (ARRAY['DE', 'US', 'IN', 'BR'])[1 + number %% 4],
           (ARRAY['', 'news.example.com', 'social.example.com'])[1 + number %% 3],
           (ARRAY['Firefox', 'Chrome', 'Safari'])[1 + number %% 3], 'Linux', 'desktop', 'en'
    FROM (SELECT slot, id, workspace_id FROM links ORDER BY id LIMIT %(links)s) link,
         generate_series(%(first)s, %(last)s) number
    ORDER BY link.slot, link.id, number
"""

# As counting them would have done.
_TOTALS = """
    INSERT INTO link_totals AS held (slot, link_id, clicks, last_clicked_at)
    SELECT slot, id, %(each)s, now() FROM links ORDER BY id LIMIT %(links)s
    ON CONFLICT (slot, link_id) DO UPDATE SET clicks = held.clicks + excluded.clicks
"""


def write_links(path: Path, first: int, count: int) -> None:
    """Write so many links as NDJSON, each of a size as people have them."""
    with path.open("wb") as file:
        for number in range(first, first + count):
            row = {
                "url": f"https://shop.example.com/articles/{number}?campaign=spring&source=mail",
                "slug": f"article-{number}",
                "title": f"Article {number} of the shop",
                "tags": ["shop", f"shelf-{number % 100}"],
                "created_at": (_BEGIN + timedelta(seconds=number)).isoformat(),
                "clicks": number % 1000,
            }
            file.write(orjson.dumps(row) + b"\n")


def make_clicks(settings: Settings, links: int, each: Sequence[int]) -> int:
    """Give each of the first links the clicks with these numbers; how many there are then."""
    now = datetime.now(UTC)
    db = Database(settings)
    try:
        Partitions(db).ensure(0, [now - timedelta(days=day) for day in range(_DAYS + 1)])
    finally:
        db.dispose()
    values = {
        "begin": now - timedelta(days=_DAYS),
        # All of a link's clicks are within these days, however many they are.
        "step": timedelta(seconds=1),
        "first": each[0],
        "last": each[-1],
        "each": len(each),
        "links": links,
    }
    assert settings.database_url is not None  # noqa: S101 - a bench has one
    with closing(psycopg2.connect(settings.database_url.replace("+psycopg2", ""))) as connection:
        with connection.cursor() as cursor:
            cursor.execute(_CLICKS, values)
            cursor.execute(_TOTALS, values)
        connection.commit()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE links")
            cursor.execute("VACUUM ANALYZE clicks")
            cursor.execute("SELECT count(*) FROM clicks")
            return int((cursor.fetchone() or (0,))[0])
