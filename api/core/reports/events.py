"""Puts what is known of an error into the form of Sentry's events, and takes out what is secret."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from api.core.reports.facts import RequestFacts, database_facts, redis_command, telling_value
from config.masking import MASK, mask

# Ours, and nothing that anybody sent: the version, lines of the source and their places.
_OURS = frozenset("release context_line pre_context post_context abs_path filename".split())


def add_facts(event: dict[str, Any], error: BaseException) -> None:
    """What a database or Redis has to do with the error."""
    tags, contexts = event["tags"], event.setdefault("contexts", {})
    database = database_facts(error)
    if database is not None:
        contexts["database"] = {k: v for k, v in asdict(database).items() if v is not None}
        tags |= {"sqlstate": database.sqlstate or "unknown"}
        tags |= {"constraint": database.constraint} if database.constraint else {}
    if command := redis_command(error):
        contexts["redis"] = {"command": command}
        tags["redis_command"] = command
    for each in event.get("exception", {}).get("values", ()):
        each["value"] = telling_value(each.get("module") or "", each.get("value") or "", database)


def add_request(event: dict[str, Any], facts: RequestFacts) -> None:
    """Where it happened; and nothing that the client sent."""
    if facts.route is not None:
        event["transaction"] = facts.route
        event["transaction_info"] = {"source": "route"}
    event["tags"] |= {name: value for name, value in facts.tags.items() if value is not None}
    event["request"] = {"method": facts.tags["method"]}
    if facts.trace_id is not None:
        add_trace(event, facts.trace_id)
    sent = sorted(facts.sent, key=len, reverse=True)
    for each in event.get("exception", {}).get("values", ()):
        each["value"] = _without(sent, each["value"])
    entry = event.get("logentry", {})
    entry |= {name: _without(sent, text) for name, text in entry.items() if isinstance(text, str)}


def add_trace(event: dict[str, Any], trace_id: str) -> None:
    """The trace in which it happened, by the name that logs have for it."""
    event.setdefault("contexts", {}).setdefault("trace", {})["trace_id"] = trace_id
    event["tags"]["trace_id"] = trace_id


def masked(value: Any) -> Any:
    """An event without what is secret by its look."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {k: v if k in _OURS else masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value


def _without(sent: Collection[str], text: str) -> str:
    for secret in sent:
        text = text.replace(secret, MASK)
    return text
