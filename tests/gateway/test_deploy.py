"""The whole as it is deployed: the gateway over TLS, two processes that redirect, two of the API, a
consumer and a job worker, each on a host of its own but for the machine, on real servers. Parts of
it are killed and replaced while it is used, and what is lost is counted: nothing."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from api.clicks.queue.broker import Broker
from api.core.database.migrate import migrate
from api.core.database.routing import Database
from api.identity.service import IdentityService
from config.settings import Settings
from tests.clicks.brokers import channel_of, new_broker
from tests.conftest import new_database
from tests.gateway.client import ApiClient, Connection
from tests.gateway.load import Load
from tests.gateway.system import HOST, Part, System
from tests.running import children_of, clean_environ, wait_until
from tests.services.certificates import Authority
from tests.story import tell_story
from tests.titles.servers import page, serving

pytestmark = [pytest.mark.deploy, pytest.mark.rabbitmq, pytest.mark.timeout(600)]


Recorder = Callable[[str, object], None]
Loaded = Callable[..., AbstractContextManager[Load]]


class Deployment:
    """The system, its consumer and its job worker, and a workspace for each who asks."""

    def __init__(
        self, system: System, settings: dict[str, str], folder: Path, internet: int
    ) -> None:
        self.system = system
        self.gateway = system.gateway
        self._settings = settings
        self.consumer = self._part(folder / "consumer", "scripts/consume-clicks")
        self.jobs = self._part(folder / "jobs", "-m", "tests.titles.worker", str(internet))
        self.parts = [self.consumer, self.jobs]

    def _part(self, home: Path, *arguments: str) -> Part:
        return Part(home, [*arguments], clean_environ(home, **self._settings))

    def new_workspace(self) -> ApiClient:
        settings = Settings.load(self._settings)
        database = Database(settings)
        identity = IdentityService(database, settings.resolved_secret_key())
        workspace = identity.create_workspace("Deploy").id
        _, key = identity.create_key(workspace, name="Deploy")
        database.dispose()
        return ApiClient(self.gateway, key)

    def asked_twice(self, slug: str) -> int:
        """How often another server was asked for a redirect, as the gateway tells."""
        lines = map(json.loads, (self.gateway.home / "access.log").read_text().splitlines())
        return sum(line["servers"].count(",") for line in lines if line["path"] == f"/{slug}")


@pytest.fixture(scope="module")
def deployment(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    with new_database() as url, new_broker() as broker, serving(page("Spring sale")) as internet:
        settings = {
            "DATABASE_URL": url,
            "REDIS_URL": os.environ["TEST_REDIS_URL"],
            "AMQP_URL": os.environ["TEST_AMQP_URL"],
            "AMQP_QUEUE": broker.queue,
            "JOBS_QUEUE": f"{broker.queue}.jobs",
            "SECRET_KEY": f"a secret of the tests only {uuid.uuid4().hex}",
            "FETCH_TITLES": "true",
            "WEB_CONCURRENCY": "2",
        }
        migrate(Settings.load(settings), report=lambda line: None)
        made = Deployment(System(folder, authority, settings), settings, folder, internet.port)
        try:
            with made.system.running():
                for part in made.parts:
                    part.begin()
                yield made
        finally:
            for part in made.parts:
                part.stop()
            delete_jobs(broker, settings["JOBS_QUEUE"])


def delete_jobs(broker: Broker, queue: str) -> None:
    with channel_of(broker) as channel:
        channel.queue_delete(queue)


def tell(deployment: Deployment, slug: str) -> None:
    """The story, of a workspace of its own."""
    site = deployment.new_workspace()

    def counted(link_id: str) -> None:
        wait_until(lambda: site.call("GET", f"/links/{link_id}")["clicks"] >= 4)

    tell_story(site, slug, counted)
    titled = site.create_link("http://title.test/")
    wait_until(lambda: site.call("GET", f"/links/{titled['id']}")["title"] == "Spring sale")


@pytest.fixture
def loaded(deployment: Deployment, record_property: Recorder) -> Loaded:
    return partial(under_load, deployment, record_property)


@contextmanager
def under_load(
    deployment: Deployment, tell_figures: Recorder, phase: str, *, kept: bool = True
) -> Iterator[Load]:
    """Visitors and callers; afterwards each click that was answered must be counted, once."""
    site = deployment.new_workspace()
    links = [site.create_link() for _ in range(6)]
    slugs = [link["slug"] for link in links]
    load = Load(deployment.gateway, site.headers, slugs, visitors=4, kept=kept)
    try:
        time.sleep(1)
        yield load
        time.sleep(1)
    finally:
        load.end()
    time.sleep(1.5)  # until the gateway has written its log
    answered = sum(load.followed.values())
    again = sum(deployment.asked_twice(link["slug"]) for link in links)

    def counted() -> int:
        return sum(int(site.call("GET", f"/links/{link['id']}")["clicks"]) for link in links)

    wait_until(lambda: counted() >= answered)
    time.sleep(2)  # were one counted twice, it would show by now
    clicks = counted()
    tell_figures("counted", f"{phase}: {load.report()}")
    figures = f"{answered} redirects answered, {again} of a second server; {clicks} counted"
    tell_figures("counted", f"{phase}: {figures}")
    # A server that died after it had written the click, before it had answered, has counted what
    # its visitor got from another one.
    assert answered <= clicks <= answered + again


def one_worker(part: Part) -> int:
    assert part.process is not None
    return next(iter(children_of(part.process.pid)))


def test_story_is_true_through_the_gateway(deployment: Deployment) -> None:
    tell(deployment, "story")


def test_live_clicks_pass(deployment: Deployment) -> None:
    site = deployment.new_workspace()
    link = site.create_link()
    connection = Connection(deployment.gateway)
    connection.request(
        "GET", f"/api/v1/links/{link['id']}/live", headers={**site.headers, "Host": HOST}
    )
    response = connection.getresponse()
    assert response.status == 200
    site.follow("GET", f"/{link['slug']}", {})
    while response.readline() != b"event: click\n":
        pass
    connection.close()


def test_links_come_in_and_go_out_by_streams(deployment: Deployment) -> None:
    site = deployment.new_workspace()
    slugs = {f"stream-{uuid.uuid4().hex}" for _ in range(2_500)}
    lines = (json.dumps({"url": "https://example.com/", "slug": it}).encode() for it in slugs)
    began = site.import_rows(uuid.uuid4().hex, (line + b"\n" for line in lines))
    path = f"/imports/{began.json['id']}"
    wait_until(lambda: site.call("GET", path)["state"] == "finished")
    assert site.call("GET", path)["created"] == len(slugs)
    *rows, end = map(json.loads, site.ask("GET", "/exports/links").body.splitlines())
    assert end["end"]["complete"] is True
    assert {row["slug"] for row in rows} == slugs


def test_killed_parts_lose_nothing_that_may_be_sent_twice(
    deployment: Deployment, loaded: Loaded
) -> None:
    system = deployment.system
    with loaded("killed") as load:
        for part in [*system.servers, *deployment.parts]:
            part.kill()
            time.sleep(1)
            part.begin()
            if part in system.servers:
                wait_until(system.servers[system.servers.index(part)].answers)
        for server in system.servers:
            os.kill(one_worker(server), 9)
            time.sleep(1)
    assert load.lost_idempotent == []
    # Of the others no more than were under way at each death of a server of the API.
    assert len(load.failures) <= 4 * load.callers


@pytest.mark.parametrize("way", ["renewed", "stopped"])
def test_replaced_parts_lose_nothing(deployment: Deployment, loaded: Loaded, way: str) -> None:
    system = deployment.system
    with loaded(way) as load:
        for server in system.servers:
            replace: Callable[[], None] = server.renew if way == "renewed" else server.restart
            replace()
        for part in deployment.parts:
            part.stop()
            part.begin()
        time.sleep(3)
    assert load.failures == []


def test_renewed_gateway_loses_nothing(deployment: Deployment, loaded: Loaded) -> None:
    """Over new connections, as most visits are: a client that keeps one and does not hear that it
    was closed has to ask again (RFC 9112 section 9.3.1)."""
    with loaded("gateway", kept=False) as load:
        for number in range(3):
            deployment.gateway.add_certificate(f"domain{number}.test")
            deployment.gateway.reload()
            time.sleep(1)
    assert load.failures == []


def test_story_is_still_true(deployment: Deployment) -> None:
    tell(deployment, "story-again")
