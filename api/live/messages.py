"""What the click consumer tells web processes over Redis publish/subscribe.

A channel for each workspace and each link that is watched; a message is the clicks of one batch,
of which only so many are told one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from api.clicks.enriched import EnrichedClick

# The form of the messages is in the name: processes of two versions do not misread each other. In
# braces what a cluster keeps together: who listens has one connection.
CHANNELS = "signpost:{live}:v1:"
MAX_CLICKS = 100

_TEXTS = (
    "country",
    "referrer",
    "browser",
    "system",
    "device",
    "language",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
)


class Subject(NamedTuple):
    """What is watched: one link of a workspace, or all of them."""

    workspace: int
    link: int | None = None


class Message(NamedTuple):
    """The clicks of a batch, the oldest first, and how many before them are not told."""

    clicks: list[dict[str, Any]]
    skipped: int


def channel_of(subject: Subject) -> str:
    """Where the clicks of a subject are published."""
    link = "" if subject.link is None else f":{subject.link}"
    return f"{CHANNELS}{subject.workspace}{link}"


def subject_of(channel: str) -> Subject | None:
    """The subject of a channel; None if it is not one of ours."""
    parts = channel.removeprefix(CHANNELS).split(":")
    if not channel.startswith(CHANNELS) or len(parts) > 2:
        return None
    try:
        return Subject(*map(int, parts))
    except ValueError:
        return None


def write_message(clicks: Sequence[EnrichedClick], most: int = MAX_CLICKS) -> bytes:
    """The message that tells of `clicks`: of the newest, and how many there are beside."""
    told = sorted(clicks[-most:], key=lambda click: click.at_ms)
    message = {
        "clicks": [present_click(click) for click in told],
        "skipped": len(clicks) - len(told),
    }
    return orjson.dumps(message, option=orjson.OPT_UTC_Z)


def read_message(data: bytes) -> Message | None:
    """What a message says; None if it is not one."""
    try:
        message = orjson.loads(data)
        clicks, skipped = message["clicks"], message["skipped"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if not isinstance(clicks, list) or not all(isinstance(click, dict) for click in clicks):
        return None
    return Message(clicks, skipped) if isinstance(skipped, int) else None


def present_click(click: EnrichedClick) -> dict[str, Any]:
    """What watchers see of a click: nothing by which visitors could be told apart."""
    shown = {"link_id": str(click.link_id), "clicked_at": click.clicked_at, "bot": click.bot}
    return shown | {name: getattr(click, name) or None for name in _TEXTS}
