"""A whole Signpost and a real Prometheus, with our own rules: only their times are shorter."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, cast

import pytest

from api.core.embedded.commands import CommandService
from api.core.embedded.supervisor import StopSignals
from tests.chaos.system import Part, PrivateSystem, private_folder
from tests.chaos.visitors import Plan
from tests.monitoring import sources
from tests.running import ROOT
from tests.services import prometheus
from tests.services.prometheus import PrivatePrometheus

TOKEN = "a token of the tests only"
_KNOWN_LINKS = 5  # of those, what visitors follow all the time
_FIRES_SECONDS = 60.0
_ENDS_SECONDS = 60.0

_SHORT = {
    "5m": "6s",
    "10m": "6s",
    "30m": "8s",
    "1h": "10s",
    "2h": "12s",
    "3h": "14s",
    "6h": "16s",
    "1d": "20s",
    "3d": "30s",
}
# Ages that are waited for.
_SOONER = {
    "signpost_spool_oldest_click_age_seconds) > 60": "signpost_spool_oldest_click_age_seconds) > 2",
    "signpost_ingest_lag_seconds) > 60": "signpost_ingest_lag_seconds) > 2",
}


def shorten(text: str) -> str:
    """Rules as they are, with seconds where they have minutes and days."""
    text = re.sub(r"\[(\w+)\]", lambda found: f"[{_SHORT[found[1]]}]", text)
    text = re.sub(r"\boffset (\w+)", lambda found: f"offset {_SHORT[found[1]]}", text)
    text = re.sub(r"\b(for|interval): \w+", r"\1: 1s", text)
    for long, short in _SOONER.items():
        text = text.replace(long, short)
    return text


class _Patience:
    """What waits in place of `StopSignals`: pytest has handlers of its own."""

    def check(self, seconds: float) -> None:
        time.sleep(seconds)


class Watched:
    """The system, and what Prometheus says of it."""

    def __init__(self, folder: Path, *, broker: bool, links: int, **settings: str) -> None:
        self._folder = folder
        self._wanted = links
        self.system = PrivateSystem(
            folder,
            cast(StopSignals, _Patience()),
            broker=broker,
            consumers=0,
            postgres_options={"fsync": "off"},
            settings={
                "METRICS_TOKEN": TOKEN,
                "REDIRECT_WARM_ENTRIES": "0",
                **settings,
            },
        )
        self.prometheus = self._make_prometheus()
        self.links: list[dict[str, Any]] = []

    def start(self) -> None:
        """Start everything, and wait until Prometheus sees all of it."""
        self.prometheus.start()  # it takes a few seconds before it asks anybody
        self.system.start()
        self.start_consumer()
        self.links = self.system.create_links(self._wanted)
        self.until(lambda: set(self.prometheus.targets().values()) == {"up"}, 30)
        # What was never seen is not missed.
        clicks = 'signpost_process_resident_memory_bytes{process="clicks"}'
        self.until(lambda: bool(self.prometheus.ask(clicks)), 30)

    def stop(self) -> None:
        """Stop everything."""
        self.prometheus.stop()
        self.system.stop()

    def start_consumer(self) -> None:
        """As an operator starts it."""
        self._start("clicks", "scripts/consume-clicks")

    def start_jobs(self) -> None:
        """The other process beside web workers."""
        self._start("worker", "scripts/run-jobs")

    def stop_consumer(self) -> None:
        """End it in an orderly way."""
        self.system.stop_parts("clicks")

    def part(self, kind: str) -> Part:
        """The one part of a kind."""
        (found,) = [part for part in self.system.parts if part.kind == kind]
        return found

    def create_link(self) -> Any:
        """Something that is written."""
        return self.system.call("POST", "/api/v1/links", {"url": "https://example.com/"})

    def clicks(self, link: dict[str, Any]) -> int:
        """How many clicks of a link are counted."""
        stats = self.system.call("GET", f"/api/v1/links/{link['id']}/stats?bots=include")
        total: int = stats["total"]["clicks"]
        return total

    def script(self, *arguments: str) -> Any:
        """What one of our scripts prints as JSON."""
        return json.loads(self.system.run_script(*arguments, "--json"))

    def status(self, path: str, key: str | None = None) -> int:
        """What a request is answered; 0 for nothing at all."""
        connection = HTTPConnection("127.0.0.1", self.system.port, timeout=15)
        try:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    @contextmanager
    def visitors(self, per_second: float = 40.0) -> Iterator[None]:
        """People who follow links that are known, meanwhile."""
        plan = Plan(
            port=self.system.port,
            slugs=[link["slug"] for link in self.links[:_KNOWN_LINKS]],
            visitors=4,
            requests_per_second=per_second,
            seed=1,
            outcomes=str(self._folder / "outcomes"),
            counts=str(self._folder / "counts"),
        )
        plan.write(self._folder / "plan.json")
        command = [sys.executable, "-m", "tests.chaos.visitors", str(self._folder / "plan.json")]
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    def fire(self, *names: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until each of these alerts has fired, and look at what they say."""
        seen: dict[str, dict[str, Any]] = {}

        def all_fire() -> bool:
            meanwhile()
            # Not all at one moment: with times so short some are over when others begin.
            seen.update(self.prometheus.alerts())
            return set(names) <= set(seen)

        self.until(all_fire, _FIRES_SECONDS, lambda: f"{names} of {set(seen)}")
        for name in names:
            for text in seen[name]["annotations"].values():
                assert "<error" not in text and "<no value>" not in text, text

    def end(self, *names: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until these alerts are over; without names, until none fires."""

        def none_fires() -> bool:
            meanwhile()
            firing = set(self.prometheus.alerts())
            return not (firing & set(names) if names else firing)

        self.until(none_fires, _ENDS_SECONDS, lambda: str(set(self.prometheus.alerts())))

    @staticmethod
    def until(
        condition: Callable[[], bool], seconds: float, state: Callable[[], str] = str
    ) -> None:
        """Wait for a condition; a test fails that waits too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {state()}"
            time.sleep(0.2)

    def _start(self, kind: str, script: str) -> None:
        self.system.add(
            CommandService(
                kind,
                [sys.executable, script],
                environ=self.system.environ(),
                folder=ROOT,
                lock=self._folder / f"{kind}.lock",
                log=self._folder / f"{kind}.log",
                grace_seconds=30.0,
            )
        )

    def _make_prometheus(self) -> PrivatePrometheus:
        rules = []
        for path in sources.RULES:
            short = self._folder / path.name
            short.write_text(shorten(path.read_text(encoding="utf-8")))
            rules.append(short)
        targets = {"signpost-web": f"127.0.0.1:{self.system.port}"}  # it tells of all processes
        return PrivatePrometheus(self._folder / "prometheus", targets, rules, TOKEN)


@contextmanager
def watched(*, broker: bool, links: int = 300, **settings: str) -> Iterator[Watched]:
    """A system that is watched, until the context ends."""
    if not prometheus.available():
        pytest.skip(f"{prometheus.ABSENT}: {prometheus.INSTALL}")
    with private_folder("signpost-watched-") as folder:
        system = Watched(folder, broker=broker, links=links, **settings)
        try:
            system.start()
            yield system
        finally:
            system.stop()
