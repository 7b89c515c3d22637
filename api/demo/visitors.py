"""Visits that look like those of people: a few links get most of them, by day more than by night.

Popularity follows Zipf's law; addresses come from blocks of several countries, so that the
enrichment finds what it would find in earnest.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from api.clicks.records import FLAG_HEAD, ClickRecord

# First halves of address blocks, with the language that is common there, the offset of its day in
# hours, and a weight.
_PLACES = (
    ("8.8", "en-US,en;q=0.9", -6, 20),
    ("24.56", "en-US,en;q=0.9", -5, 14),
    ("86.150", "en-GB,en;q=0.8", 0, 9),
    ("91.12", "de-DE,de;q=0.9,en;q=0.6", 1, 14),
    ("90.80", "fr-FR,fr;q=0.9", 1, 8),
    ("88.20", "es-ES,es;q=0.9", 1, 5),
    ("145.53", "nl-NL,nl;q=0.9", 1, 4),
    ("117.192", "hi-IN,en;q=0.8", 5, 9),
    ("126.20", "ja-JP,ja;q=0.9", 9, 7),
    ("177.40", "pt-BR,pt;q=0.9", -3, 7),
    ("1.128", "en-AU,en;q=0.9", 10, 3),
)
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
_AGENTS = (
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36", 30),
    (f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME} Mobile Safari/537.36", 22),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        18,
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        9,
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", 6),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36 Edg/126.0.0.0", 7),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", 4),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", 2),
    ("curl/8.8.0", 1),
)
_REFERRERS = (
    ("", 38),
    ("https://www.google.com/", 20),
    ("https://t.co/", 9),
    ("https://www.linkedin.com/", 7),
    ("https://news.ycombinator.com/", 6),
    ("https://www.reddit.com/r/programming/", 6),
    ("https://mail.google.com/", 5),
    ("https://duckduckgo.com/", 4),
    ("android-app://com.google.android.gm/", 3),
    ("https://www.bing.com/search?q=signpost", 2),
)
_QUERIES = (
    ("", 70),
    ("utm_source=newsletter&utm_medium=email&utm_campaign=spring", 12),
    ("utm_source=twitter&utm_medium=social&utm_campaign=launch", 8),
    ("utm_source=google&utm_medium=cpc&utm_campaign=brand&utm_term=short+links", 6),
    ("utm_source=poster&utm_medium=qr&utm_content=entrance", 4),
)
# Visits by local hour, 0 to 23.
_HOURS = (3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 12, 12, 12, 11, 10, 10, 11, 12, 12, 10, 7, 5)
_VISITORS_PER_PLACE = 4_000
_ZIPF_EXPONENT = 1.05


def visits(
    links: Sequence[tuple[int, int]], count: int, days: int, now: datetime, seed: int
) -> Iterator[ClickRecord]:
    """`count` visits of `(link id, workspace id)` pairs within the last `days`; same seed, same
    visits."""
    chance = random.Random(seed)  # nosec B311 # noqa: S311 - believable, not secret
    weights = [1 / (rank + 1) ** _ZIPF_EXPONENT for rank in range(len(links))]
    chosen = chance.choices(links, weights, k=count)
    for link_id, workspace_id in chosen:
        block, language, offset, _ = _pick(chance, _PLACES)
        agent, _ = _pick(chance, _AGENTS)
        visitor = chance.randrange(_VISITORS_PER_PLACE)
        yield ClickRecord(
            int(_moment(chance, days, offset, now).timestamp() * 1000),
            link_id,
            workspace_id,
            f"{block}.{visitor // 250}.{visitor % 250 + 1}",
            agent,
            _pick(chance, _REFERRERS)[0],
            language,
            _pick(chance, _QUERIES)[0],
            FLAG_HEAD if chance.random() < 0.01 else 0,
        )


def _moment(chance: random.Random, days: int, offset: int, now: datetime) -> datetime:
    """A moment within the last `days`: fewer at weekends, most in the local afternoon."""
    while True:
        day = now - timedelta(days=chance.randrange(days + 1))
        hour = chance.choices(range(24), _HOURS)[0]
        midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
        moment = midnight + timedelta(hours=hour - offset, seconds=chance.uniform(0, 3600))
        quiet = moment.weekday() >= 5 and chance.random() < 0.4
        if now - timedelta(days=days) <= moment <= now and not quiet:
            return moment


def _pick(chance: random.Random, options: Sequence[tuple]) -> tuple:  # type: ignore[type-arg]
    return chance.choices(options, [option[-1] for option in options])[0]
