"""How many processes of the Procfile there should be, for hosts that are told a number of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from api.clicks.queue.broker import FAILURES, Broker, why
from api.operations.autoscaling import Autoscaler, Policy, Sample
from api.operations.load import HostLoad
from config.settings import Settings, SettingsError

# Each reaches one of the processes, by chance.
_SCRAPES = 5
_TIMEOUT_SECONDS = 10.0
# A consumer takes many at once; what it needs for so many is a fraction of a second.
SEGMENTS_PER_CONSUMER = 200


@dataclass(frozen=True, slots=True)
class FleetAdvice:
    """One type of process: how many there should be, and why."""

    wanted: int
    reason: str
    now: int | None = None
    queued: int | None = None


class Fleet:
    """All processes of an installation."""

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._settings = settings
        self._policy = replace(policy, cores=0)  # each process comes with some

    def advise(self, processes: int, metrics_url: str | None) -> dict[str, FleetAdvice]:
        """How many of each type there should be, when so many are `web` now.

        Raises:
            SettingsError: nothing tells how busy they are.
            OSError: the broker is away.
        """
        busy, delay = self._scrape(metrics_url) if metrics_url else self._look()
        sample = Sample(at=0, workers=processes, busy=busy, delay_seconds=delay)
        decision = Autoscaler(self._policy).aim_at_once(sample)
        advice = {"web": FleetAdvice(decision.wanted, decision.reason, now=processes)}
        if self._settings.amqp_url is not None:
            advice["clicks"] = self._consumers(Broker.of(self._settings, self._settings.amqp_url))
        return advice

    def _look(self) -> tuple[float, float]:
        host = HostLoad.read(self._settings.load_path)
        if host is None:
            raise SettingsError(
                f"SIGNPOST_HOME: no web worker tells its load in {self._settings.load_path}"
            )
        return host.busy, host.delay_seconds

    def _scrape(self, url: str) -> tuple[float, float]:
        headers = {"Authorization": f"Bearer {self._settings.metrics_token or ''}"}
        busy, delay = [], []
        for _ in range(_SCRAPES):
            try:
                # A connection of its own each time: one that is kept leads to the same process.
                with urllib3.PoolManager(retries=False, timeout=_TIMEOUT_SECONDS) as pool:
                    answer = pool.request("GET", url, headers=headers, redirect=False)
            except urllib3.exceptions.HTTPError as error:
                raise ConnectionError(f"{url} does not answer ({error})") from error
            if answer.status != 200:
                raise ConnectionError(f"{url} answered {answer.status}; is METRICS_TOKEN right?")
            values = {
                one.name: one.value
                for family in text_string_to_metric_families(answer.data.decode())
                for one in family.samples
            }
            if "signpost_busy_ratio" not in values:
                raise ConnectionError(f"{url} does not tell how busy the workers are")
            busy.append(values["signpost_busy_ratio"])
            delay.append(values["signpost_queue_delay_seconds"])
        return sum(busy) / len(busy), sum(delay) / len(delay)

    def _consumers(self, broker: Broker) -> FleetAdvice:
        try:
            queued = broker.queued()
        except FAILURES as error:
            raise ConnectionError(f"AMQP_URL does not answer ({why(error)})") from error
        wanted = max(math.ceil(queued / SEGMENTS_PER_CONSUMER), 1)
        bounded = min(wanted, self._policy.high)
        reason = f"{queued} segments wait, {SEGMENTS_PER_CONSUMER} for each"
        return FleetAdvice(bounded, reason, queued=queued)
