"""What the figures and the dependencies mean, in plain words, and what helps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from api.operations.status import words
from api.operations.status.board import CLICK_SECONDS, REDIRECT_SECONDS
from api.operations.status.counters import CLICK_DELAY, REDIRECT_TIME
from api.operations.status.dependencies import Dependency
from api.operations.status.hour import Hour, now

WELL, DEGRADED, DOWN = "well", "degraded", "down"
HEADLINES = {WELL: "All is well", DEGRADED: "Degraded", DOWN: "Down"}

# As long as a minute is young, few samples speak for it.
_RECENT_MINUTES = 5
_SILENT_MINUTES = 3
_UNCOUNTED_MINUTES = 2
_FAILING_SHARE = 0.01
# As alerts have it, too: of a few requests one that is slow, the first of all for one, is no share.
_FEW_SLOW = 10
_FAILING_REDIRECTS = 0.0001  # the promise: 99.99 % of redirects are answered
_BUSY = 0.75
_LATE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    text: str
    advice: str = ""
    severity: str = DEGRADED


# What each one's absence means for those who follow links and for those who call the API.
_AWAY = {
    "database": (
        "PostgreSQL is away{since}: known links go on, the API answers 503.",
        "Look at the server at DATABASE_URL, then at its disk and its connections.",
    ),
    "redis": (
        "Redis is away{since}: redirects and the API go on, each process caches and limits by "
        "itself.",
        "Look at the server at REDIS_URL; nothing in it is the only copy of anything.",
    ),
    "queue": (
        "RabbitMQ is away{since}: redirects go on, clicks wait in the spool and are counted later.",
        "Look at the server at AMQP_URL; the spool takes clicks up to SPOOL_MAX_BYTES.",
    ),
    "schema": (
        "The schema of a database is not what this code needs{since}.",
        "Run scripts/migrate.",
    ),
    "disk": (
        "The disk of SIGNPOST_HOME takes nothing{since}: clicks are lost.",
        "Make room on it, and see who may write there.",
    ),
    "spool": (
        "The spool is full{since}: redirects go on, and their clicks are lost.",
        "Find out why clicks are not counted (below), or raise SPOOL_MAX_BYTES.",
    ),
    "click consumer": (
        "The click consumer is away{since}: clicks are kept, and counted when it is back.",
        "Start scripts/consume-clicks; its log says why it ended.",
    ),
    "job worker": (
        "The job worker is away{since}: links go on, titles come when it is back.",
        "Start scripts/run-jobs; its log says why it ended.",
    ),
    "shard": (
        "The shard {name} is away{since}: its links go on where they are known, the rest answers "
        "503.",
        "Look at the server that SHARD_URLS names so.",
    ),
    "": (
        "{name} is away{since}: others answer in its place.",
        "Look at that server, and at how far it lags.",
    ),
}


# Of which there may be one of each shard, by its name.
_OF_A_SHARD = frozenset({"shard", "schema"})
# Without these a process answers 503 to everything that it does not know already.
_REQUIRED = frozenset({"database", "spool", "schema", "disk"})


def find(
    dependencies: Sequence[Dependency], usable: bool, hour: Hour, *, queued: bool
) -> list[Finding]:
    """Everything, the worst first; `queued` says that clicks go through a broker."""
    found = [
        *_away(dependencies, usable),
        *_silent(hour),
        *_failing(hour),
        *_slow(hour),
        *_waiting(hour, queued=queued),
        *_busy(hour),
    ]
    return sorted(found, key=lambda finding: finding.severity != DOWN)


def state_of(findings: Sequence[Finding]) -> str:
    """One word for all of it."""
    if not findings:
        return WELL
    return DOWN if any(finding.severity == DOWN for finding in findings) else DEGRADED


def _away(dependencies: Sequence[Dependency], usable: bool) -> Iterator[Finding]:
    for each in dependencies:
        if each.up:
            continue
        kind, _, shard = each.name.partition("-")
        if kind not in _OF_A_SHARD:
            kind, shard = each.name, ""
        text, advice = _AWAY.get(kind, _AWAY[""])
        since = "" if each.since is None else f" since {words.clock(each.since)}"
        severe = not usable and each.name in _REQUIRED
        yield Finding(
            text.format(name=shard or each.name, since=since), advice, DOWN if severe else DEGRADED
        )


def _silent(hour: Hour) -> Iterator[Finding]:
    if hour.known and not hour.last(_SILENT_MINUTES).known:
        last = max(start for start, minute in zip(hour.starts, hour.minutes, strict=True) if minute)
        yield Finding(
            f"No process has told figures since {words.clock(last)}.",
            "Web workers sample: are they there, and may they write to SIGNPOST_HOME?",
        )


def _failing(hour: Hour) -> Iterator[Finding]:
    recent = hour.last(_RECENT_MINUTES)
    redirects, redirects_failed = recent.count("redirects."), recent.count("redirects_failed")
    if redirects_failed > max(redirects, 1.0) * _FAILING_REDIRECTS:
        yield Finding(
            f"{words.share(redirects_failed / redirects)} of redirects failed in the last "
            f"{_RECENT_MINUTES} minutes.",
            "Links that no copy is left of need PostgreSQL.",
        )
    calls, failed = recent.count("calls."), recent.count("calls.5xx")
    if failed > max(calls, 1.0) * _FAILING_SHARE:
        yield Finding(
            f"{words.share(failed / calls)} of API calls failed in the last "
            f"{_RECENT_MINUTES} minutes.",
            "The log has a line for each, with its request id.",
        )
    if lost := recent.count("clicks_lost"):
        yield Finding(
            f"{words.count(lost)} clicks were answered and not recorded in the last "
            f"{_RECENT_MINUTES} minutes.",
            "Make room on the disk of SIGNPOST_HOME, or raise SPOOL_MAX_BYTES.",
        )


def _slow(hour: Hour) -> Iterator[Finding]:
    recent = hour.last(_RECENT_MINUTES)
    slow = recent.quantile_of_all(0.99, REDIRECT_TIME)
    few = recent.beyond(REDIRECT_SECONDS, REDIRECT_TIME) < _FEW_SLOW
    if slow is not None and slow > REDIRECT_SECONDS and not few:
        yield Finding(
            f"One redirect in a hundred takes longer than {words.seconds(slow)}.",
            "See which level answers them: the database, or workers that are busy.",
        )


def _waiting(hour: Hour, *, queued: bool) -> Iterator[Finding]:
    consumer = "Is scripts/consume-clicks running, and does PostgreSQL keep up?"
    age = now(hour.most("oldest_click_seconds"))
    if age is not None and age > CLICK_SECONDS:
        advice = "Does RabbitMQ take them?" if queued else consumer
        yield Finding(f"Clicks wait: the oldest for {words.seconds(age)}.", advice)
        return
    # Through a broker they wait elsewhere. The minute that goes on tells nothing yet.
    whole = Hour(hour.first, hour.minutes[:-1]).last(_UNCOUNTED_MINUTES)
    recorded, counted = whole.total("clicks_recorded"), whole.total("clicks_counted")
    if all(recorded) and counted and not any(counted):
        yield Finding(
            f"Clicks are recorded, and none was counted for {_UNCOUNTED_MINUTES} minutes.", consumer
        )
        return
    recent = hour.last(_RECENT_MINUTES)
    late = recent.quantile_of_all(0.99, CLICK_DELAY)
    few = recent.beyond(CLICK_SECONDS, CLICK_DELAY) < _FEW_SLOW
    if late is not None and late > CLICK_SECONDS and not few:
        yield Finding(
            f"One click in a hundred is counted later than {words.seconds(late)} after it.",
            "More consumers, or a faster database: docs/click-pipeline.md.",
        )


def _busy(hour: Hour) -> Iterator[Finding]:
    busy = now(hour.mean("busy"))
    late = now(hour.most("loop_delay_seconds"))
    if busy is not None and busy > _BUSY:
        yield Finding(
            f"The web workers are {words.share(busy)} busy.",
            "Add workers (scripts/autoscale does), or hosts where the cores are taken.",
        )
    elif late is not None and late > _LATE_SECONDS:
        yield Finding(
            f"Requests wait {words.seconds(late)} for their turn in a web worker.",
            "Add workers (scripts/autoscale does); scripts/profile shows what takes the time.",
        )
    if now(hour.most("pool_waiting")):
        yield Finding(
            "Requests wait for a connection to a database: all are in use.",
            "See docs/database.md on the size of pools, and which statements take long.",
        )
