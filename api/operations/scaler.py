"""Keeps as many web workers on this host as there is work for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from api.operations.autoscaling import Autoscaler, Decision, Policy, Sample
from api.operations.load import HostLoad
from api.operations.masters import Master, MasterAway, MasterState


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen, decided and done; without a decision there was nothing to decide about."""

    sample: Sample | None
    decision: Decision | None
    trouble: str | None = None
    workers: int | None = None  # that there are to be from now on


class HostScaler:
    """Looks, decides and acts, once each time that it is asked to."""

    def __init__(self, policy: Policy, master: Master, load_folder: Path, *, act: bool) -> None:
        self._autoscaler = Autoscaler(policy)
        self._master = master
        self._folder = load_folder
        self._act = act

    def step(self, *, at_once: bool = False) -> Step:
        """Do what the samples so far ask for, or `at_once` what this one alone does."""
        try:
            state = self._master.state()
            sample = self._sample(state)
            if sample is None:
                return Step(None, None, "the workers have not told their load yet", state.workers)
            seen = self._autoscaler
            decision = seen.aim_at_once(sample) if at_once else seen.observe(sample)
            return Step(sample, decision, None, self._carry_out(state, decision))
        except MasterAway as away:
            return Step(None, None, str(away))

    def _sample(self, state: MasterState) -> Sample | None:
        host = HostLoad.read(self._folder)
        if host is None:
            return None
        return Sample(
            at=time.monotonic(),
            workers=state.workers,
            busy=host.busy,
            delay_seconds=host.delay_seconds,
            starved=host.starved,
            generation=state.generation,
        )

    def _carry_out(self, state: MasterState, decision: Decision) -> int:
        if decision.wanted == state.workers or not self._act:
            return state.workers
        workers = self._master.bring_to(state, decision.wanted)
        self._autoscaler.changed(time.monotonic(), workers)
        return workers
