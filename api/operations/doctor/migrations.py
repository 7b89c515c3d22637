"""Whether each database has the schema of this code."""

from __future__ import annotations

from collections.abc import Iterator

from api.operations.checks import Failing
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.subject import Place, Subject
from api.operations.startup import ask_schema

_TOLD = 4


def look(subject: Subject) -> Iterator[Finding]:
    """Every shard; replicas follow them."""
    yield from for_each(subject, subject.primaries(), _schema)


def _schema(place: Place) -> Iterator[Finding]:
    check = f"schema {place.name}"
    try:
        with place.read() as session:
            state = ask_schema(session, place.shard)
    except Failing as behind:
        at = ", ".join(each or "empty" for each in behind.details["revisions"].values())
        pending = behind.details["pending"]
        told = ", ".join(pending) if len(pending) <= _TOLD else f"{pending[0]} to {pending[-1]}"
        yield wrong(
            check,
            f"at {at}; {len(pending)} pending: {told}",
            "Apply them; this code does not start before.",
            "scripts/migrate",
        )
        return
    at = ", ".join(state["revisions"].values())
    if state.get("newer_than_code"):
        advice = "A release is under way, or was taken back: deploy the code that belongs to it."
        yield warning(check, f"at {at}, of newer code than this", advice)
    else:
        yield ok(check, f"at {at}")
