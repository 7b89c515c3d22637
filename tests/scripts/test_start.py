"""scripts/start, run for real."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, RunningSignpost, clean_environ, running, start_in_vain, wait_until
from tests.scripting import run_script
from tests.services.network import free_ports

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module")
def signpost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSignpost]:
    with running(tmp_path_factory.mktemp("start") / "home") as started:
        yield started


def one_line(text: str) -> str:
    """The only line of a message; never a traceback."""
    assert text.count("\n") == 1, text
    return text.strip()


def test_first_start_prints_a_key_and_keeps_it_private(signpost: RunningSignpost) -> None:
    path = signpost.home / "admin.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signpost.output.count(signpost.key) == 1


def test_printed_curl_line_works_when_pasted(signpost: RunningSignpost) -> None:
    line = re.search(r"^ +(curl .*)$", signpost.output, re.MULTILINE)
    assert line is not None
    answer = subprocess.run(["bash", "-c", line[1]], check=True, capture_output=True, cwd="/")
    assert json.loads(answer.stdout)["url"] == "https://example.com/"


def test_status_page_opens_with_the_token_that_the_start_keeps(signpost: RunningSignpost) -> None:
    path = signpost.home / "metrics.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = re.search(r"Status: (\S+) \(any name; the password is in (.+)\)", signpost.output)
    assert line is not None
    assert line[2] == str(path)
    password = base64.b64encode(b"me:" + path.read_bytes()).decode()
    asked = urllib.request.Request(line[1], headers={"Authorization": f"Basic {password}"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert json.load(answer)["status"] in ("well", "degraded")


def test_start_on_a_home_in_use_is_refused(signpost: RunningSignpost) -> None:
    done = start_in_vain(signpost.home, PORT=str(free_ports(1)[0]))
    assert done.returncode == 1
    assert f"is running on {signpost.home} already" in one_line(done.stderr)


def test_start_on_a_port_in_use_is_refused(signpost: RunningSignpost, tmp_path: Path) -> None:
    done = start_in_vain(tmp_path, PORT=str(signpost.port))
    assert done.returncode == 1
    assert "PORT: cannot listen on 127.0.0.1" in one_line(done.stderr)


def test_scripts_find_the_embedded_database_from_anywhere(signpost: RunningSignpost) -> None:
    environ = clean_environ(signpost.home)
    command = [sys.executable, str(ROOT / "scripts" / "create-key"), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, cwd="/", env=environ)
    assert json.loads(done.stdout)["key"].startswith("sp_live_")


def test_doctor_finds_nothing_wrong_with_what_runs(signpost: RunningSignpost) -> None:
    environ = clean_environ(signpost.home, PORT=str(signpost.port))

    def examine() -> subprocess.CompletedProcess[str]:
        return run_script("doctor", "--strict", "--json", env=environ, cwd=Path("/"))

    # The consumer starts beside the rest, and has months to make.
    wait_until(lambda: examine().returncode == 0)
    told = json.loads(examine().stdout)
    assert told["counts"]["ok"] == len(told["findings"])
    found = {it["check"]: it["found"] for it in told["findings"]}
    assert found["web"].startswith("2 workers")
    assert found["readiness"].startswith("ready, ")
    assert found["clicks"].startswith("process ")


def test_relative_home_is_relative_to_the_current_folder(signpost: RunningSignpost) -> None:
    environ = clean_environ(Path(signpost.home.name))
    command = [sys.executable, str(ROOT / "scripts" / "create-key"), "--dry-run"]
    subprocess.run(command, check=True, cwd=signpost.home.parent, env=environ)


@pytest.mark.parametrize("program", ["consume-clicks", "valkey-server", "bin/postgres"])
def test_what_dies_is_started_again(signpost: RunningSignpost, program: str) -> None:
    def ids() -> set[int]:
        return {number for number, line in signpost.children().items() if program in line}

    wait_until(ids)
    before = ids()
    for number in before:
        os.kill(number, signal.SIGKILL)
    wait_until(lambda: ids() - before)
    wait_until(lambda: works(signpost))


def works(signpost: RunningSignpost) -> bool:
    try:
        signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})
        health = signpost.call("GET", "/health/ready")
    except (OSError, AssertionError):
        return False
    return bool(health["status"] == "ready")


@pytest.mark.parametrize("everything", [False, True], ids=["supervisor", "everything"])
def test_start_after_kill_9(signpost: RunningSignpost, everything: bool) -> None:
    link = signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})
    victims = [signpost.process.pid, *(signpost.children() if everything else ())]
    for number in victims:
        os.kill(number, signal.SIGKILL)
    signpost.process.wait()

    signpost.start()
    assert signpost.call("GET", f"/api/v1/links/{link['id']}")["slug"] == link["slug"]


def test_stop_leaves_nothing_and_next_start_goes_on(signpost: RunningSignpost) -> None:
    link = signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})
    key = signpost.key
    assert signpost.leftovers()
    assert signpost.stop(signal.SIGINT) == 0
    assert signpost.leftovers() == []

    signpost.start()
    assert key not in signpost.output
    assert signpost.call("GET", f"/api/v1/links/{link['id']}")["slug"] == link["slug"]
    assert signpost.stop() == 0
    assert signpost.leftovers() == []


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("DATABASE_URL", "mysql://localhost/x", "DATABASE_URL: Not a PostgreSQL URL"),
        ("DATABASE_URL", "postgresql://u@h:port/x", "DATABASE_URL: invalid integer value"),
        ("DATABASE_URL", "postgresql://u@127.0.0.1:1/x", "Connection refused"),
        ("DATABASE_URL", "postgresql://u:pass word@[::1/x", "u:***@"),
        ("REDIS_URL", "localhost", "REDIS_URL: Not a Redis URL"),
        ("PORT", "70000", "PORT: Must be"),
        ("HOST", "not an address", "HOST: "),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: Must be one of"),
        ("SIGNPOST_HOME", "/proc/nowhere", "SIGNPOST_HOME: cannot make"),
    ],
)
def test_wrong_setting_is_one_line(tmp_path: Path, name: str, value: str, complaint: str) -> None:
    done = start_in_vain(tmp_path, **({"PORT": str(free_ports(1)[0])} | {name: value}))
    assert done.returncode == 1
    assert complaint in one_line(done.stderr)


def test_missing_database_is_one_line(tmp_path: Path) -> None:
    url = re.sub(r"/[^/?]*(\?|$)", r"/no_such_database\1", os.environ["TEST_DATABASE_URL"])
    done = start_in_vain(tmp_path, PORT=str(free_ports(1)[0]), DATABASE_URL=url)
    assert done.returncode == 1
    assert 'database "no_such_database" does not exist' in one_line(done.stderr)


def test_refused_password_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = b'SFATAL\0C28P01\0Mpassword authentication failed for user "u"\0\0'
        # What PostgreSQL sends to a wrong password, as an ErrorResponse message.
        message = b"E" + (len(answer) + 4).to_bytes(4, "big") + answer
        url = f"postgresql://u:secret@127.0.0.1:{server.getsockname()[1]}/x?sslmode=disable"
        environ = clean_environ(tmp_path, PORT=str(free_ports(1)[0]), DATABASE_URL=url)
        command = [sys.executable, str(ROOT / "scripts" / "_start.py")]
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(message)
            _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "password authentication failed" in one_line(error)
    assert "secret" not in error


@pytest.mark.parametrize("script", ["start", "test"])
def test_help_needs_nothing_installed(script: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / script, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.startswith(f"Usage: scripts/{script}")
