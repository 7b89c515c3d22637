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
_NOT_LOOKED_AT = "not looked at: see the connections"


def examine(
    subject: Subject,
    looks: Sequence[Look],
    deadline_seconds: float,
    on_done: Callable[[str], None] = lambda _name: None,
) -> list[Told]:
    """All findings with their groups, in the order of the looks. Each look has the whole deadline,
    as all begin at once; `on_done` is told the name of each that has ended."""
    # A little sooner: who looks at several servers tells which of them it was.
    subject.server_seconds = 0.9 * deadline_seconds
    ended: queue.Queue[int] = queue.Queue()
    found: list[list[Finding]] = [[] for _ in looks]

    def run(number: int) -> None:
        look = looks[number]
        try:
            for finding in look.at(subject):
                found[number].append(finding)
        except AWAY:
            found[number].append(unknown(look.name, _NOT_LOOKED_AT))
        except Exception as error:
            advice = "This part could not be looked at: is it allowed, and is the schema in place?"
            found[number].append(warning(look.name, explain(error), advice))
        ended.put(number)

    for number, look in enumerate(looks):
        threading.Thread(target=run, args=(number,), name=look.name, daemon=True).start()
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
        on_done(looks[number].name)
    for number in running:
        advice = "Something that it asked hangs: look at what the other checks say of connections."
        found[number].append(
            wrong(looks[number].name, f"no answer within {deadline_seconds:g} seconds", advice)
        )
    told = [
        (looks[number].group, it) for number in range(len(looks)) for it in tuple(found[number])
    ]
    return list(dict.fromkeys(told))  # several looks of a group may have met the same


def for_each(
    subject: Subject,
    things: Iterable[T],
    look: Callable[[T], Iterable[Finding]],
    name: Callable[[T], str] = str,
) -> Iterator[Finding]:
    """Findings of each of several servers, in their order: one that hangs holds up no other."""
    looks = [_LookAtOne(thing, look, name(thing)) for thing in things]
    until = time.monotonic() + subject.server_seconds
    for one in looks:
        one.start()
    for one in looks:
        yield from one.findings(until)


class _LookAtOne(threading.Thread):
    """What one server has to tell, for as long as it takes."""

    def __init__(self, thing: T, look: Callable[[T], Iterable[Finding]], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._look: Callable[[], Iterable[Finding]] = lambda: look(thing)
        self._found: list[Finding] = []
        self._error: Exception | None = None

    def run(self) -> None:
        """Look."""
        try:
            self._found.extend(self._look())
        except AWAY:
            self._found.append(unknown(self.name, _NOT_LOOKED_AT))
        except Exception as error:
            self._error = error

    def findings(self, until: float) -> list[Finding]:
        """What was found by then."""
        self.join(max(until - time.monotonic(), 0.0))
        if self._error is not None:
            raise self._error
        if self.is_alive():
            advice = "It hangs: look at the server, and at the network between."
            return [*self._found, wrong(self.name, "no answer in time", advice)]
        return self._found
