"""`scripts/autoscale` and `scripts/profile` on a live web server, whose processes are killed."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from api.core.load import read_loads
from api.operations.masters import Master
from tests.running import ROOT, RunningSignpost, children_of, clean_environ, running, wait_until
from tests.scripting import run_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
TOKEN = "a token of the tests only"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSignpost]:
    """A host with two workers that have told their load."""
    with running(tmp_path_factory.mktemp("autoscale") / "home", METRICS_TOKEN=TOKEN) as signpost:
        wait_until(lambda: len(read_loads(signpost.home / "load")) == 2)
        yield signpost


def run(site: RunningSignpost, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = clean_environ(site.home, METRICS_TOKEN=TOKEN, AUTOSCALE_MIN_WORKERS="1")
    return run_script(script, *arguments, env=environ, timeout=60)


def autoscale(site: RunningSignpost, *arguments: str) -> dict[str, Any]:
    done = run(site, "autoscale", "--json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def master_of(site: RunningSignpost) -> int | None:
    masters = [number for number, line in site.children().items() if "gunicorn" in line]
    return masters[0] if masters else None


def workers_of(site: RunningSignpost) -> set[int]:
    master = master_of(site)
    return set(children_of(master)) if master else set()


def loads_of(site: RunningSignpost) -> set[int]:
    return {load.pid for load in read_loads(site.home / "load")}


def test_workers_tell_their_load_as_long_as_they_live(site: RunningSignpost) -> None:
    before = workers_of(site)
    assert loads_of(site) == before
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(loads_of(site)) == 2 and victim not in loads_of(site))
    assert not (site.home / "load" / str(victim)).exists()
    assert loads_of(site) == workers_of(site)


def test_requests_are_seen_as_cpu_and_connections(site: RunningSignpost) -> None:
    connection = HTTPConnection("127.0.0.1", site.port, timeout=10)
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        connection.request("GET", "/api/v1/openapi.json")
        connection.getresponse().read()
    busiest = max(read_loads(site.home / "load"), key=lambda load: load.cpu_ratio)
    assert busiest.connections >= 1
    assert 0.05 < busiest.cpu_ratio <= busiest.busy_ratio <= 1
    assert 0 < busiest.delay_seconds(time.monotonic_ns()) < 1
    connection.close()


def test_once_decides_and_acts_unless_dry(site: RunningSignpost) -> None:
    dry = autoscale(site, "--once", "--dry-run", "--min", "3", "--max", "4")
    assert (dry["now"], dry["wanted"], dry["workers"]) == (2, 3, 2)
    assert "at least 3" in dry["reason"]
    assert len(workers_of(site)) == 2

    assert autoscale(site, "--once", "--min", "3", "--max", "4")["workers"] == 3
    wait_until(lambda: len(workers_of(site)) == 3)
    wait_until(lambda: loads_of(site) == workers_of(site))
    assert autoscale(site, "--once", "--min", "2", "--max", "2")["workers"] == 2
    wait_until(lambda: len(workers_of(site)) == 2)


def test_without_a_control_socket_workers_are_counted(site: RunningSignpost) -> None:
    master = Master(None, site.home / "load")
    wait_until(lambda: loads_of(site) == workers_of(site) and len(loads_of(site)) == 2)
    state = master.state()
    assert (state.pid, state.workers, state.exact) == (master_of(site), 2, False)
    assert master.bring_to(state, 3) == 3
    wait_until(lambda: loads_of(site) == workers_of(site) and len(loads_of(site)) == 3)
    assert master.bring_to(master.state(), 2) == 2
    wait_until(lambda: loads_of(site) == workers_of(site) and len(loads_of(site)) == 2)


def test_procfile_hosts_are_told_a_number_of_processes(site: RunningSignpost) -> None:
    here = autoscale(site, "--processes", "8")["processes"]
    there = autoscale(
        site, "--processes", "8", "--metrics", f"http://127.0.0.1:{site.port}/metrics"
    )["processes"]
    for told in (here, there):
        assert told["web"]["now"] == 8
        assert 6 <= told["web"]["wanted"] <= 8
        assert "busy" in told["web"]["reason"]

    refused = run(site, "autoscale", "--processes", "8", "--metrics", "http://127.0.0.1:1/")
    assert refused.returncode == 1
    assert "does not answer" in refused.stderr


def test_without_a_web_server_it_says_so(tmp_path: Path) -> None:
    environ = clean_environ(tmp_path)
    for name, expected in (("autoscale", "does not answer"), ("profile", "no web worker")):
        arguments = ["--once"] if name == "autoscale" else []
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / name, *arguments],
            check=False, env=environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert expected in done.stdout + done.stderr


def test_profile_draws_a_flame_graph_of_a_live_worker(
    site: RunningSignpost, tmp_path: Path
) -> None:
    worker = sorted(workers_of(site))[0]
    picture = tmp_path / "flame.svg"
    command = ["scripts/profile", "--seconds", "1", "--rate", "200", "--output", str(picture)]
    profiler = subprocess.Popen(
        [sys.executable, *command, "--worker", str(worker)],
        cwd=ROOT, env=clean_environ(site.home), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while profiler.poll() is None:  # new connections, so that each worker has something to do
        connection = HTTPConnection("127.0.0.1", site.port, timeout=10)
        connection.request("GET", "/api/v1/openapi.json")
        connection.getresponse().read()
        connection.close()
    _, said = profiler.communicate()
    assert profiler.returncode == 0, said
    drawn = ElementTree.parse(picture).getroot()
    assert drawn.tag.endswith("svg")
    assert "gevent" in picture.read_text()

    wrong = run(site, "profile", "--worker", "1")
    assert wrong.returncode == 1
    assert "no web worker; there are: " in wrong.stderr


def test_profile_says_what_to_install(tmp_path: Path, site: RunningSignpost) -> None:
    program = (
        "import runpy, shutil, sys; shutil.which = lambda *_, **__: None; "
        "sys.argv = ['scripts/profile']; sys.path.insert(0, 'scripts'); "
        "runpy.run_path('scripts/profile', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False, cwd=ROOT, env=clean_environ(site.home), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install py-spy" in done.stderr


def test_profile_explains_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    explain = runpy.run_path(str(ROOT / "scripts" / "profile"), run_name="profile")["explain"]
    # py-spy's own words to somebody who is not root.
    said = explain("Permission Denied: Try running again with elevated permissions\n", 4711)
    assert said.startswith("this user may not look into process 4711")
    assert "--cap-add SYS_PTRACE" in said
    assert explain("starting\nError: Failed to find python version\n", 1).startswith("Error: Fail")


@pytest.mark.slow
def test_whatever_is_killed_or_restarted_the_number_comes_back(tmp_path: Path) -> None:
    with running(tmp_path / "home") as site:
        log = tmp_path / "log"
        with log.open("w") as stream:
            scaler = subprocess.Popen(
                [sys.executable, "scripts/autoscale", "--json", "--interval", "0.5",
                 "--min", "3", "--max", "3"],
                cwd=ROOT, env=clean_environ(site.home), stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            wait_until(lambda: len(workers_of(site)) == 3)

            victim = sorted(workers_of(site))[0]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: victim not in workers_of(site) and len(workers_of(site)) == 3)

            old = workers_of(site)
            os.kill(master_of(site) or 0, signal.SIGHUP)  # back to two, as WEB_CONCURRENCY says
            wait_until(lambda: not old & workers_of(site) and len(workers_of(site)) == 3)

            master = master_of(site)
            os.kill(master or 0, signal.SIGKILL)
            wait_until(lambda: master_of(site) not in (None, master))
            wait_until(lambda: len(workers_of(site)) == 3)

            time.sleep(3)
            os.kill(master_of(site) or 0, signal.SIGTTIN)  # by hand, beyond the bound
            wait_until(lambda: len(workers_of(site)) == 4)
            time.sleep(3)
            assert len(workers_of(site)) == 4
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            assert "4 were set by hand" in lines[-1]["reason"]
            assert scaler.poll() is None
            scaler.terminate()
            assert scaler.wait(10) == 0
        finally:
            scaler.kill()
            scaler.wait()
