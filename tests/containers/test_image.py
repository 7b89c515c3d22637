"""The image, as far as it goes without an engine: what the Dockerfile puts into it, run as
processes that may write nothing but the home, beside the servers of the tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from api.core.database.routing import Database
from api.core.embedded import processes
from api.identity.service import IdentityService
from config.settings import Settings
from tests.clicks.brokers import new_broker
from tests.conftest import new_database
from tests.containers.image import CODE, Ignored, Stage, build, instructions
from tests.running import BROWSER, ROOT, wait_until
from tests.services.network import free_ports

OWNER = 10_002  # of the image's files: neither root nor who runs
_TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def image() -> Iterator[Stage]:
    """The files of the image, which nobody can write."""
    folder = Path(tempfile.mkdtemp(prefix="signpost-image-"))
    try:
        stage = build(folder, "signpost")
        for path in [stage.folder / "srv", *(stage.folder / "srv").rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o222)
            if os.geteuid() == 0:
                os.chown(path, OWNER, OWNER)
        yield stage
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def contained(*arguments: str) -> list[str]:
    """A command without root's rights over files, as the image's account has none."""
    if os.geteuid() != 0:
        return [*arguments]
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *arguments]


class Container:
    """One process of the image, on a host of its own."""

    def __init__(self, image: Stage, home: Path, settings: dict[str, str]) -> None:
        home.mkdir(exist_ok=True)
        self.image = image
        self.log = home.with_suffix(".log")
        self.environ = {name: image.text(value) for name, value in image.environ.items()}
        # Where this Python's own programs are; the image has them in /usr/local/bin.
        self.environ["PATH"] += f":{Path(sys.executable).resolve().parent}"
        self.environ |= {"SIGNPOST_HOME": str(home), "HOST": "127.0.0.1", "WEB_CONCURRENCY": "1"}
        self.environ |= settings
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        """Through the image's entry point."""
        (entry,) = re.findall(r'"([^"]+)"', self.image.said["ENTRYPOINT"])
        return contained(self.image.text(entry), *arguments)

    def start(self, *arguments: str) -> None:
        """Start it as an engine would."""
        self.process = processes.spawn(
            self.command(*arguments),
            death_signal=signal.SIGTERM,
            environ=self.environ,
            folder=Path("/"),
            log=self.log,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command(*arguments),
            check=False,
            env=self.environ,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )

    def is_healthy(self) -> bool:
        """What the image's HEALTHCHECK says of it."""
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        (check,) = re.findall(r'CMD \["([^"]+)"\]', self.image.said["HEALTHCHECK"])
        command = contained(self.image.text(check), str(self.process.pid))
        done = subprocess.run(command, check=False, env=self.environ, capture_output=True)
        return done.returncode == 0

    def ask_to_stop(self) -> None:
        """Ask it to stop as an engine does."""
        assert self.process is not None
        self.process.send_signal(signal.Signals[self.image.said["STOPSIGNAL"]])

    def end(self) -> int:
        """Wait until it has stopped; its exit status."""
        assert self.process is not None
        return self.process.wait(30)


def fetch(port: int, path: str, method: str = "GET", **told: str) -> tuple[int, str | None, Any]:
    """The status, where it leads, and what it says."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json", "User-Agent": BROWSER}
        if "key" in told:
            headers["Authorization"] = f"Bearer {told['key']}"
        connection.request(method, path, told.get("body"), headers)
        answer = connection.getresponse()
        text = answer.read()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, answer.getheader("Location"), json.loads(text) if is_json else None
    finally:
        connection.close()


def test_dockerfile_is_written_as_hadolint_advises() -> None:
    program = Path(sys.prefix, "bin", "hadolint")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], check=False, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_image_says_how_it_is_run(image: Stage) -> None:
    assert image.said["STOPSIGNAL"] == "SIGTERM"
    assert image.said["CMD"] == '["web"]'
    user, group = image.said["USER"].split(":")
    assert user.isdecimal() and group.isdecimal() and "0" not in (user, group)
    assert image.environ["SIGNPOST_HOME"] == image.said["VOLUME"]
    assert image.said["EXPOSE"] == image.environ["PORT"] == str(Settings.load({}).port)


def test_last_stages_have_no_compiler_and_install_from_nowhere() -> None:
    stages = "".join(f"{name} {rest}\n" for name, rest in instructions(_TEXT)).split("FROM ")[1:]
    with_compiler = [stage.split()[2] for stage in stages if "gcc" in stage]
    with_pip = [stage.split()[2] for stage in stages if "pip install" in stage]
    assert with_compiler == with_pip == ["packages"]
    assert stages[-1].split()[2] == "signpost", "what `docker build .` makes"
    for command in re.findall(r"pip install .*?(?:&&|\n)", " ".join(stages)):
        assert "--require-hashes" in command and "--only-binary :all:" in command


def test_image_has_the_code_and_nothing_private(image: Stage) -> None:
    code = image.inside(CODE)
    names = {path.name for path in code.iterdir()}
    assert {"api", "config", "scripts", "deploy", "Procfile", "wsgi.py"} <= names
    assert not names & {"tests", "bench", "docs", "var", ".env", ".git", ".venv"}
    compiled = {path.name.split(".")[0] for path in (code / "api/core").glob("__pycache__/*.pyc")}
    assert compiled == {path.stem for path in (code / "api/core").glob("*.py")}


def test_nothing_private_reaches_the_builder() -> None:
    ignored = Ignored((ROOT / ".dockerignore").read_text(encoding="utf-8"))
    private = (".env", "var/secret.key", ".git/config", "deploy/monitoring/signpost.token")
    assert all(ignored(Path(path)) for path in private)
    assert ignored(Path("certificates/go.test/privkey.pem"))
    assert ignored(Path("api/core/__pycache__/http.cpython-311.pyc"))
    assert not ignored(Path("api/core/http.py"))
    assert not ignored(Path("deploy/containers/entry"))


def test_entry_point_knows_its_processes(image: Stage, tmp_path: Path) -> None:
    container = Container(image, tmp_path / "home", {})
    done = container.run("scripts/doctor", "--help")
    assert done.returncode == 0, done.stderr
    assert "scripts/doctor" in done.stdout
    strange = container.run("beat")
    assert strange.returncode == 127 and "beat" in strange.stderr
    assert container.run("clicks", "--once").returncode == 2


def test_nothing_of_the_image_can_be_written(image: Stage, tmp_path: Path) -> None:
    container = Container(image, tmp_path / "home", {})
    for path in (image.inside(CODE) / "new", image.inside(CODE) / "api" / "__init__.py"):
        done = container.run("sh", "-c", f"echo >>{path}")
        assert done.returncode != 0 and "denied" in done.stderr


def test_secrets_are_new_each_time_and_good_enough(image: Stage, tmp_path: Path) -> None:
    container = Container(image, tmp_path / "home", {})
    made = [container.run("deploy/containers/make-secrets") for _ in range(2)]
    assert all(done.returncode == 0 for done in made), made[0].stderr
    first, second = (dict(line.split("=", 1) for line in done.stdout.splitlines()) for done in made)
    assert set(first) == set(second)
    assert all(first[name] != second[name] for name in first)
    settings = Settings.load({name: first[name] for name in ("SECRET_KEY", "JWT_PRIVATE_KEY")})
    assert settings.resolved_secret_key() == first["SECRET_KEY"].encode()
    own = container.run("deploy/containers/make-secrets", "kubernetes").stdout.splitlines()
    named = {line.partition("=")[0] for line in own}
    assert named == {"SECRET_KEY", "METRICS_TOKEN", "JWT_PRIVATE_KEY"}


@pytest.mark.rabbitmq
def test_every_process_of_the_image_runs(image: Stage, tmp_path: Path) -> None:
    before = listing(image)
    with new_database() as url, new_broker() as broker:
        ports = dict(zip(("web", "redirect", "api"), free_ports(3), strict=True))
        settings = {
            "DATABASE_URL": url,
            "REDIS_URL": os.environ["TEST_REDIS_URL"],
            "AMQP_URL": os.environ["TEST_AMQP_URL"],
            "AMQP_QUEUE": broker.queue,
            "JOBS_QUEUE": f"{broker.queue}.jobs",
            "SECRET_KEY": os.urandom(24).hex(),
            "REDIRECT_WARM_ENTRIES": "0",
        }
        migrated = Container(image, tmp_path / "release", settings).run("release")
        assert migrated.returncode == 0, migrated.stderr
        containers = {
            name: Container(
                image, tmp_path / name, settings | {"PORT": str(ports.get(name, 0) or 8000)}
            )
            for name in (*ports, "clicks", "worker")
        }
        try:
            for name, container in containers.items():
                container.start(name)
            for container in containers.values():
                wait_until(container.is_healthy)
            count_a_click(settings, ports)
            for container in containers.values():
                container.ask_to_stop()
            statuses = {name: container.end() for name, container in containers.items()}
        finally:
            for container in containers.values():
                if container.process is not None:
                    container.process.kill()
                    container.process.wait()
    assert set(statuses.values()) == {0}, statuses
    assert listing(image) == before


def count_a_click(settings: dict[str, str], ports: dict[str, int]) -> None:
    """A link made through `api` is followed through `redirect`, and counted by `clicks`."""
    key = new_key(Settings.load(settings))
    body = '{"url": "https://example.org/", "slug": "image"}'
    status, _, link = fetch(ports["api"], "/api/v1/links", "POST", body=body, key=key)
    assert status == 201
    assert fetch(ports["redirect"], "/image")[:2] == (302, "https://example.org/")
    # Each has its own part, `web` all of it.
    assert fetch(ports["redirect"], "/api/v1/links", key=key)[0] == 404
    assert fetch(ports["api"], "/image")[0] == 404
    assert fetch(ports["web"], "/api/v1/links", key=key)[0] == 200
    stats = f"/api/v1/links/{link['id']}/stats"
    wait_until(lambda: fetch(ports["api"], stats, key=key)[2]["total"]["clicks"] == 1)


def new_key(settings: Settings) -> str:
    """An API key of a new workspace."""
    database = Database(settings)
    try:
        identity = IdentityService(database, settings.resolved_secret_key())
        _, key = identity.create_key(identity.create_workspace("Image").id, name="Image")
        return key
    finally:
        database.dispose()


def listing(image: Stage) -> dict[str, int]:
    """The files of the image with their times."""
    code = image.inside(CODE)
    return {str(path): path.stat().st_mtime_ns for path in code.rglob("*") if path.is_file()}
