"""The gunicorn master of this host: how many workers it keeps, and how it is told to change that.

Its control socket tells the number that is wanted, which the workers that live do not: one may just
be replaced. Where there is no control socket (its path is too long for one), the workers that tell
their load say whose they are, and are counted.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gunicorn.ctl.client import ControlClient, ControlClientError

from api.core.load import read_loads

_ANSWER_SECONDS = 5.0
_AWAY_SECONDS = 3.0
_LOOK_SECONDS = 0.05
# A second signal before the first is seen would be lost in it.
_BETWEEN_SECONDS = 0.3


class MasterAway(Exception):
    """There is no web server that could be told anything."""


@dataclass(frozen=True, slots=True)
class MasterState:
    """A master as it is now."""

    pid: int
    workers: int  # that there are to be
    generation: tuple[int, int]  # another one after a restart or a reload
    exact: bool  # whether the master itself told


class Master:
    """Whichever master there is at the moment: it may be killed and started again."""

    def __init__(self, control_socket: Path | None, load_folder: Path) -> None:
        self._socket = control_socket
        self._loads = load_folder

    def state(self) -> MasterState:
        """How it is.

        Raises:
            MasterAway: there is none, or it does not answer.
        """
        if self._socket is None:
            return self._counted()
        told = self._ask(str(self._socket))
        generation = (told["pid"], told["reloads"])
        return MasterState(told["pid"], told["workers_target"], generation, exact=True)

    def _ask(self, path: str) -> dict[str, Any]:
        """What the master tells of itself."""
        deadline = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                with ControlClient(path, _ANSWER_SECONDS) as client:
                    told: dict[str, Any] = client.send_command("show stats")
                    return told
            except ControlClientError as error:
                # It closes the socket around each fork.
                if time.monotonic() > deadline or not read_loads(self._loads):
                    raise MasterAway(f"the web server does not answer: {error}") from error
                time.sleep(_LOOK_SECONDS)

    def bring_to(self, state: MasterState, workers: int) -> int:
        """Have as many workers, by one signal for each; answers how many there are to be now. It
        ends early when somebody else changes the number, or the master does not follow.

        Raises:
            MasterAway: there is no master any more.
        """
        number = signal.SIGTTIN if workers > state.workers else signal.SIGTTOU
        step = 1 if workers > state.workers else -1
        while state.workers != workers:
            try:
                os.kill(state.pid, number)
            except ProcessLookupError as error:
                raise MasterAway("the web server has ended") from error
            expected = state.workers + step
            found = self._wait(state, expected)
            if found.workers != expected or found.generation != state.generation:
                return found.workers
            state = found
        return state.workers

    def _wait(self, state: MasterState, expected: int) -> MasterState:
        if not state.exact:
            time.sleep(_BETWEEN_SECONDS)
            return MasterState(state.pid, expected, state.generation, exact=False)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            found = self.state()
            if found != state or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_SECONDS)

    def _counted(self) -> MasterState:
        masters = [load.master for load in read_loads(self._loads)]
        if not masters:
            raise MasterAway("no web server runs here")
        if len(set(masters)) > 1:
            raise MasterAway("several web servers run here, or one is about to end")
        return MasterState(masters[0], len(masters), (masters[0], 0), exact=False)
