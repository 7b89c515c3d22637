"""Looks at everything at once; what hangs is left behind, and told of.

Each look has a thread of its own that nobody waits for at the end: a server that hangs must not
hang who asks what is wrong.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from api.operations.doctor.finding import Finding, Look, unknown, warning, wrong
from api.operations.doctor.reasons import AWAY, explain
from api.operations.doctor.subject import Subject

T = TypeVar("T")
Told = tuple[str, Finding]
_DONE = None
_NOT_LOOKED_AT = "not looked at: see the connections"


def examine(
    subject: Subject,
    looks: Sequence[tuple[str, Look]],
    deadline_seconds: float,
    on_done: Callable[[str], None] = lambda _group: None,
) -> list[Told]:
    """All findings with their groups, in the order of the looks. Each look has the whole deadline,
    as all begin at once; `on_done` is told the group of each that has ended."""
    ended: queue.Queue[int] = queue.Queue()
    found: list[list[Finding]] = [[] for _ in looks]

    def run(number: int) -> None:
        group, look = looks[number]
        try:
            for finding in look(subject):
                found[number].append(finding)
        except AWAY:
            found[number].append(unknown(group, _NOT_LOOKED_AT))
        except Exception as error:
            advice = "This part could not be looked at: is it allowed, and is the schema in place?"
            found[number].append(warning(group, explain(error), advice))
        ended.put(number)

    for number, (group, _) in enumerate(looks):
        threading.Thread(target=run, args=(number,), name=f"doctor-{group}", daemon=True).start()
    running = set(range(len(looks)))
    until = time.monotonic() + deadline_seconds
    while running:
        try:
            number = ended.get(timeout=max(until - time.monotonic(), 0.001))
        except queue.Empty:
            if time.monotonic() >= until:
                break
            continue
        running.discard(number)
        on_done(looks[number][0])
    for number in running:
        advice = "Something that it asked hangs: look at what the other checks say of connections."
        found[number].append(
            wrong(looks[number][0], f"no answer within {deadline_seconds:g} seconds", advice)
        )
    told = [(looks[number][0], it) for number in range(len(looks)) for it in tuple(found[number])]
    return list(dict.fromkeys(told))  # several looks of a group may have met the same


def for_each(
    things: Iterable[T],
    look: Callable[[T], Iterable[Finding]],
    name: Callable[[T], str] = str,
) -> Iterator[Finding]:
    """Findings of each of several servers, as they come: one that hangs holds up no other."""
    came: queue.Queue[Finding | Exception | None] = queue.Queue()

    def run(thing: T) -> None:
        try:
            for finding in look(thing):
                came.put(finding)
        except AWAY:
            came.put(unknown(name(thing), _NOT_LOOKED_AT))
        except Exception as error:
            came.put(error)
        came.put(_DONE)

    running = 0
    for thing in things:
        threading.Thread(target=run, args=(thing,), daemon=True).start()
        running += 1
    while running:
        finding = came.get()
        if isinstance(finding, Exception):
            raise finding
        if finding is _DONE:
            running -= 1
        else:
            yield finding
