"""Restarts, back-off, order and probes, with services that only pretend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.core.embedded import supervisor as module
from api.core.embedded.commands import CommandService
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.locks import ProcessLock, take_over
from api.core.embedded.supervisor import StopRequested, StopSignals, Supervisor


class Pretender:
    """A service without a process."""

    process_id = None

    def __init__(self, name: str, events: list[str]) -> None:
        self.name = name
        self.events = events
        self.status: int | None = None
        self.answers = True

    def start(self) -> None:
        self.status = None
        self.events.append(f"start {self.name}")

    def ready(self) -> bool:
        return self.answers

    def responds(self) -> bool:
        return self.answers

    def exit_status(self) -> int | None:
        return self.status

    def complaint(self) -> str:
        return "no reason"

    def stop(self) -> None:
        self.events.append(f"stop {self.name}")


def test_stops_in_reverse_order_or_as_told() -> None:
    events: list[str] = []
    one, two, three = (Pretender(name, events) for name in ("one", "two", "three"))
    with StopSignals() as signals:
        supervisor = Supervisor(signals, events.append)
        supervisor.start(one)
        supervisor.start(two)
        supervisor.start(three, stop_after=two)
        supervisor.stop()
    assert events[3:] == ["stop two", "stop three", "stop one"]


def test_start_that_ends_at_once_is_an_error() -> None:
    service = Pretender("one", [])
    service.answers = False
    with StopSignals() as signals:
        supervisor = Supervisor(signals, print)
        supervisor.start(service)
        service.status = 3
        with pytest.raises(EmbeddedError, match="one did not start: no reason"):
            supervisor.wait_ready(service, 5)


def test_start_that_takes_too_long_is_an_error() -> None:
    service = Pretender("one", [])
    service.answers = False
    with StopSignals() as signals:
        supervisor = Supervisor(signals, print)
        supervisor.start(service)
        with pytest.raises(EmbeddedError, match="not ready after"):
            supervisor.wait_ready(service, 0.1)


def test_signal_ends_a_wait() -> None:
    service = Pretender("one", [])
    service.answers = False
    with StopSignals() as signals:
        supervisor = Supervisor(signals, print)
        supervisor.start(service)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopRequested):
            supervisor.wait_ready(service, 60)


def test_delays_grow_to_a_bound_and_are_forgotten_after_a_steady_life() -> None:
    watch = module._Watch(Pretender("one", []))
    delays = [watch.delay_seconds(watch.started) for _ in range(9)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == module.LONGEST_DELAY_SECONDS
    assert watch.delay_seconds(watch.started + module.STEADY_SECONDS + 1) == 0.5


def test_dead_service_is_started_again() -> None:
    events: list[str] = []
    service = Pretender("one", events)
    with StopSignals() as signals:
        supervisor = Supervisor(signals, lambda _: None)
        supervisor.start(service)
        watch = supervisor._watches[0]
        service.status = 1
        supervisor._look_after(watch, 100.0)
        supervisor._look_after(watch, 100.1)
        assert events == ["start one"]
        supervisor._look_after(watch, 1000.0)
        assert events == ["start one", "start one"]


def test_service_that_hangs_is_killed_after_three_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process,
        StopSignals() as signals,
    ):
        service = Pretender("one", [])
        monkeypatch.setattr(service, "process_id", process.pid, raising=False)
        service.answers = False
        supervisor = Supervisor(signals, lambda _: None)
        supervisor.start(service)
        now = time.monotonic()
        for number in range(1, 4):
            assert process.poll() is None
            supervisor._look_after(supervisor._watches[0], now + 10 * number)
        assert process.wait(10) == -signal.SIGKILL


def test_lock_is_held_until_the_last_child_that_inherited_it_is_gone(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    assert lock.acquire()
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.descriptor])
    lock.name_holder(child.pid)
    lock.release()
    other = ProcessLock(tmp_path / "lock")
    assert not other.acquire()
    assert take_over(other, signal.SIGTERM, 5)
    assert child.wait(5) == -signal.SIGTERM
    other.release()


def test_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    assert lock.acquire()
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True)"
    command = [sys.executable, "-c", f"{script}; time.sleep(60)"]
    child = subprocess.Popen(command, pass_fds=[lock.descriptor], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    lock.name_holder(child.pid)
    lock.release()
    other = ProcessLock(tmp_path / "lock")
    assert take_over(other, signal.SIGTERM, 0.3)
    assert child.wait(5) == -signal.SIGKILL
    other.release()


def test_command_of_an_earlier_start_is_stopped_first(tmp_path: Path) -> None:
    def service() -> CommandService:
        return CommandService(
            "sleeper",
            ["sleep", "60"],
            environ=dict(os.environ),
            folder=tmp_path,
            lock=tmp_path / "lock",
            grace_seconds=5,
        )

    first, second = service(), service()
    first.start()
    first._lock.release()  # as if its supervisor had died
    second.start()
    assert first.exit_status() == -signal.SIGTERM
    second.stop()
    assert second.exit_status() == -signal.SIGTERM
