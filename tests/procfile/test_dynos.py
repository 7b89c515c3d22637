"""The whole on a Procfile host: release phase, a port that the host gives, addresses by the names
of add-ons, an end within 30 seconds, and a disk that goes with the process."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.clicks.brokers import channel_of, new_broker
from tests.conftest import new_database
from tests.procfile.dynos import GRACE_SECONDS, Dyno, build_slug
from tests.running import BROWSER, wait_until
from tests.services.network import free_ports
from tests.story import tell_story
from tests.unlimited import UNLIMITED

pytestmark = pytest.mark.rabbitmq

_VISITORS = 6


class Host:
    """Starts dynos, all with the same environment, and asks the one that has the port."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._slug = build_slug(folder / "slug")
        self.settings = settings
        self._dynos: list[Dyno] = []
        self.port = free_ports(1)[0]
        self.key = ""

    def dyno(self, name: str) -> Dyno:
        """A new one, not started yet."""
        made = Dyno(self._slug, self._folder / f"{name}.{len(self._dynos)}", name, self.settings)
        self._dynos.append(made)
        return made

    def end(self) -> None:
        """End all of it."""
        for dyno in self._dynos:
            dyno.end()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API."""
        text = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        status, _, answer = self._ask(method, f"/api/v1{path}", text, headers)
        assert status < 300, answer
        return json.loads(answer)

    def follow(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str | None]:
        """Follow a link."""
        status, location, _ = self._ask(method, path, None, headers)
        return status, location

    def ready(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            return self._ask("GET", "/health/ready", None, {})[0] == 200
        except (OSError, HTTPException):
            return False

    def _ask(
        self, method: str, path: str, body: str | None, headers: dict[str, str]
    ) -> tuple[int, str | None, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Location"], answer.read()
        finally:
            connection.close()


class Visitors:
    """Follow a link until nobody answers any more, and count the answers."""

    def __init__(self, port: int, slug: str) -> None:
        self._port = port
        self._path = f"/{slug}"
        self.answered = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._visit) for _ in range(_VISITORS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have found a closed door."""
        for thread in self._threads:
            thread.join(GRACE_SECONDS)
            assert not thread.is_alive()

    def _visit(self) -> None:
        while True:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=GRACE_SECONDS)
            try:
                for _ in range(200):
                    connection.request("GET", self._path, headers={"User-Agent": BROWSER})
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == 302
                    with self._lock:
                        self.answered += 1
            except ConnectionRefusedError:
                return
            except (OSError, HTTPException):
                continue  # an idle connection that was closed, as each may be
            finally:
                connection.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with new_database() as url, new_broker() as broker:
        settings = {
            "HOST": "127.0.0.1",
            "WEB_CONCURRENCY": "2",
            "SECRET_KEY": f"a secret of the tests only {uuid.uuid4().hex}",
            # As add-ons give them.
            "DATABASE_URL": url.replace("postgresql://", "postgres://"),
            "REDISCLOUD_URL": os.environ["TEST_REDIS_URL"],
            "CLOUDAMQP_URL": os.environ["TEST_AMQP_URL"],
            "AMQP_QUEUE": broker.queue,
            "JOBS_QUEUE": f"{broker.queue}.jobs",
            **UNLIMITED,
        }
        made = Host(tmp_path, settings)
        try:
            yield made
        finally:
            made.end()
            with channel_of(broker) as channel:
                channel.queue_delete(settings["JOBS_QUEUE"])


def test_story_is_true_and_the_end_of_all_loses_no_click(
    host: Host, record_property: Callable[[str, object], None]
) -> None:
    release = host.dyno("release")
    release.start()
    assert release.wait(60) == 0, release.log
    host.key = json.loads(release.run("scripts/bootstrap", "--json"))["key"]
    release.end()

    dynos = [host.dyno(name) for name in ("web", "clicks", "worker")]
    for dyno in dynos:
        dyno.start(host.port)
    wait_until(host.ready)
    tell_story(host, "story", lambda link: wait_until(lambda: clicks_of(host, link) == 4))
    for dyno in dynos:
        for setting in ("REDIS_URL is taken from REDISCLOUD", "AMQP_URL is taken from CLOUDAMQP"):
            assert setting in dyno.log
    link = host.call("POST", "/links", {"url": "https://example.com/"})

    visitors = Visitors(host.port, link["slug"])
    time.sleep(1)
    began = time.monotonic()
    for dyno in dynos:
        dyno.terminate()
    for dyno in dynos:
        dyno.wait(GRACE_SECONDS - (time.monotonic() - began))
        wait_until(lambda dyno=dyno: not dyno.processes(), 1)  # type: ignore[misc]
    seconds = time.monotonic() - began
    visitors.join()
    assert seconds < GRACE_SECONDS
    for dyno in dynos:
        assert "SIGKILL" not in dyno.log
        dyno.end()  # with all that it had on its disk

    counter = host.dyno("clicks")
    counter.start()
    answered, database = visitors.answered, host.settings["DATABASE_URL"]
    wait_until(lambda: counted(database, link["id"]) >= answered)
    time.sleep(0.5)
    found = counted(database, link["id"])
    record_property("end", f"{seconds:.1f} s; {answered} clicks answered, {found} counted")
    # What was written and then not answered, as its worker was at its end, is counted as well.
    assert answered <= found <= answered + _VISITORS
    assert answered > 100


def clicks_of(host: Host, link_id: str) -> int:
    return int(host.call("GET", f"/links/{link_id}")["clicks"])


def counted(database: str, link_id: str) -> int:
    """What is written of a link, where nobody answers for it any more."""
    connection = psycopg2.connect(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM clicks WHERE link_id = %s", (int(link_id),))
            row = cursor.fetchone()
        return int(row[0]) if row else 0
    finally:
        connection.close()
