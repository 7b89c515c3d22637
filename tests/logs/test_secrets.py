"""Everything that carries a secret is done to real processes at their most talkative, and what
depends on others fails; then all that they wrote is searched."""

from __future__ import annotations

import os
import random
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pika
import psycopg2
import pytest
import requests
from flask import Flask
from sqlalchemy.engine import make_url

from api.identity.service import IdentityService
from api.identity.users import UserService
from config.masking import network_of
from tests.caller import PASSWORD, Caller
from tests.logs.system import LoggedSystem
from tests.oauth.people import Flow, Form
from tests.oauth.programs import CALLBACK, Program
from tests.redirects.proxy import Relay
from tests.running import wait_until
from tests.services.network import free_ports

pytestmark = pytest.mark.rabbitmq

_part = random.SystemRandom().randrange
# By chance, as what addresses have tried is counted in a Redis that others use, too.
VISITORS = (
    *(f"203.{_part(256)}.{_part(256)}.{_part(256)}" for _ in range(2)),
    *(f"2001:db8:{_part(65536):x}:{_part(65536):x}:3::9" for _ in range(2)),
)
_FAILURES = 40


def secret(kind: str) -> str:
    """Something that is found nowhere by chance."""
    return f"{kind}-{uuid.uuid4().hex}"


@dataclass
class Story:
    """A system, and every secret that it was told or has told."""

    system: LoggedSystem
    owner: Caller
    secrets: dict[str, str]
    answers: dict[str, requests.Response] = field(default_factory=dict)
    links: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ask(self, method: str, path: str, *, key: str | None = "", **options: Any) -> Any:
        """A request, as the owner where nobody else is named."""
        headers = options.pop("headers", {})
        if key is not None:
            headers = {"Authorization": f"Bearer {key or self.owner.key}"} | headers
        return requests.request(
            method,
            f"{self.system.base}{path}",
            headers=headers,
            allow_redirects=False,
            timeout=30,
            **options,
        )

    def visit(self, path: str, number: int = 0, **options: Any) -> Any:
        """A visitor's request, through a proxy that tells their address."""
        headers = {"X-Forwarded-For": VISITORS[number], "Host": "sign.test"}
        headers |= options.pop("headers", {})
        return self.ask(options.pop("method", "GET"), path, key=None, headers=headers, **options)


@pytest.fixture(scope="module")
def told(
    environ: dict[str, str],
    app: Flask,
    identity: IdentityService,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """All of it done once; the processes have ended."""
    with ExitStack() as stack:
        relays = {
            name: stack.enter_context(Relay(host or "127.0.0.1", port))
            for name, (host, port) in _servers(environ).items()
        }
        secrets = {name: secret(name) for name in ("SECRET_KEY", "METRICS_TOKEN")}
        settings = environ | _settings(environ, relays, secrets)
        stack.callback(_forget_queues, settings)
        system = LoggedSystem(settings, tmp_path_factory.mktemp("logged"))
        stack.callback(system.stop)
        # Keys are told apart by the secret of the installation.
        ours = IdentityService(identity._db, secrets["SECRET_KEY"].encode())
        story = Story(system, Caller.of_new_workspace(app, ours), secrets)
        secrets["key"] = story.owner.key
        _call_the_api(story)
        _follow_links(story)
        _use_oauth(story, app)
        _break_the_server_and_the_schema(story, environ)
        _take_away(story, relays)
        stack.pop_all()
        system.stop()
        for relay in relays.values():
            relay.__exit__(None, None, None)
        _forget_queues(settings)
        yield story


def _servers(environ: dict[str, str]) -> dict[str, tuple[str, int]]:
    database, redis = make_url(environ["DATABASE_URL"]), urlsplit(environ["REDIS_URL"])
    broker = pika.URLParameters(os.environ["TEST_AMQP_URL"])
    return {
        "database": (database.host or "", database.port or 5432),
        "redis": (redis.hostname or "", redis.port or 6379),
        "queue": (broker.host, broker.port),
    }


def _settings(
    environ: dict[str, str], relays: dict[str, Relay], secrets: dict[str, str]
) -> dict[str, str]:
    """Settings with passwords in each URL: these servers ask for none, or take any."""
    database = make_url(environ["DATABASE_URL"]).set(host="127.0.0.1")
    database = database.set(port=relays["database"].port)
    secrets["password of the database"] = database.password or secret("database")
    database = database.set(password=secrets["password of the database"])
    redis = urlsplit(environ["REDIS_URL"])
    secrets["password of Redis"] = redis.password or secret("redis")
    user = redis.username or "default"
    broker = urlsplit(os.environ["TEST_AMQP_URL"])
    secrets["password of the broker"] = f"{broker.username}:{broker.password}@"
    secrets["key of the Sentry"] = uuid.uuid4().hex
    secrets["credential of the collector"] = secret("collector")
    (nobody,) = free_ports(1)
    return {
        **secrets_as_settings(secrets),
        "DATABASE_URL": database.render_as_string(hide_password=False),
        "REDIS_URL": f"redis://{user}:{secrets['password of Redis']}"
        f"@127.0.0.1:{relays['redis'].port}{redis.path}",
        "AMQP_URL": f"amqp://{secrets['password of the broker']}"
        f"127.0.0.1:{relays['queue'].port}{broker.path}",
        "AMQP_QUEUE": f"test.{uuid.uuid4().hex[:12]}",
        "JOBS_QUEUE": f"test.jobs.{uuid.uuid4().hex[:12]}",
        "SENTRY_DSN": f"http://{secrets['key of the Sentry']}@127.0.0.1:{nobody}/1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{nobody}",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20"
        f"{secrets['credential of the collector']}",
        # Only what fails.
        "OTEL_TRACES_SAMPLER_ARG": "0",
        "LOG_LEVEL": "DEBUG",
        "LOG_LEVELS": "pika=DEBUG,celery=DEBUG,amqp=DEBUG,api.core.database.pools=DEBUG",
        "LOG_REDIRECT_SAMPLE": "1",
        "TRUSTED_PROXIES": "127.0.0.1",
        "FETCH_TITLES": "true",
        "SIGN_IN_TRIES_PER_MINUTE": "3",
        "MISSES_PER_MINUTE": "3",
        "PASSWORD_TRIES_PER_MINUTE": "3",
    }


def secrets_as_settings(secrets: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in secrets.items() if name.isupper()}


def _forget_queues(settings: dict[str, str]) -> None:
    with pika.BlockingConnection(pika.URLParameters(os.environ["TEST_AMQP_URL"])) as connection:
        channel = connection.channel()
        for name in (settings["AMQP_QUEUE"], settings["JOBS_QUEUE"]):
            for each in (name, f"{name}.dead"):
                channel.queue_delete(each)
                channel.exchange_delete(each)


def _call_the_api(story: Story) -> None:
    secrets, answers = story.secrets, story.answers
    answers["list"] = story.ask("GET", "/api/v1/links")
    answers["by the other header"] = story.ask(
        "GET", "/api/v1/links", key=None, headers={"X-Api-Key": story.owner.key}
    )
    secrets["wrong key"] = "sp_live_" + secret("wrong")
    answers["wrong key"] = story.ask("GET", "/api/v1/links", key=secrets["wrong key"])
    secrets["no key at all"] = secret("nonsense")
    story.ask("GET", "/api/v1/links", key=secrets["no key at all"])
    secrets["in the query"] = secret("query")
    story.ask("GET", f"/api/v1/links?access_token={secrets['in the query']}")
    secrets["as the request id"] = "sp_live_" + secret("id")
    odd = story.ask("GET", "/api/v1/x", headers={"X-Request-ID": secrets["as the request id"]})
    answers["no route"] = odd
    secrets["in the path"] = secret("path")
    story.ask("GET", f"/api/v1/reset/{secrets['in the path']}")
    answers["head"] = story.ask("HEAD", "/api/v1/links")
    answers["metrics"] = story.ask("GET", "/metrics", key=secrets["METRICS_TOKEN"])
    secrets["wrong token of metrics"] = secret("metrics")
    story.ask("GET", "/metrics", key=secrets["wrong token of metrics"])
    for password in (secrets["METRICS_TOKEN"], secrets["wrong token of metrics"]):
        story.ask("GET", "/status", key=None, auth=("operator", password))
    secrets["cookie"] = secret("cookie")
    story.ask("GET", "/api/v1/links", headers={"Cookie": f"session={secrets['cookie']}"})
    secrets["in a body that is none"] = secret("body")
    story.ask("POST", "/api/v1/links", data='{"password": "' + secrets["in a body that is none"])


def _follow_links(story: Story) -> None:
    secrets, answers = story.secrets, story.answers
    secrets["in a target"], secrets["password of a link"] = secret("target"), secret("link")
    target = f"https://nobody.invalid/reset?token={secrets['in a target']}"
    wishes: dict[str, dict[str, Any]] = {
        "plain": {},
        "locked": {"password": secrets["password of a link"]},
        "passing": {"forward_query": True},
    }
    for name, wish in wishes.items():
        made = story.ask("POST", "/api/v1/links", json={"url": target} | wish)
        assert made.status_code == 201, made.text
        story.links[name] = made.json()
        answers[f"creating of {name}"] = made
    slugs = {name: f"/{link['slug']}" for name, link in story.links.items()}
    secrets["of a visitor"] = secret("visitor")
    for number in range(len(VISITORS)):
        answers["first visit" if number == 0 else "visit"] = story.visit(
            f"{slugs['plain']}?session={secrets['of a visitor']}", number
        )
        story.visit(f"{slugs['passing']}?session={secrets['of a visitor']}", number)
        for _ in range(6):  # some of them too many
            story.visit(f"/{secret('miss')}?session={secrets['of a visitor']}", number)
    answers["prepared"] = story.visit(slugs["plain"])
    unlock = partial(story.visit, slugs["locked"], method="POST")
    opened = unlock(data={"password": secrets["password of a link"]})
    assert opened.status_code == 303, opened.text
    secrets["wrong password of a link"] = secret("guess")
    for _ in range(5):
        unlock(2, data={"password": secrets["wrong password of a link"]})


def _use_oauth(story: Story, app: Flask) -> None:
    secrets = story.secrets
    fields = {"name": "Program", "scopes": ["links:read"], "grant_types": ["client_credentials"]}
    made = story.ask("POST", "/api/v1/oauth-clients", json=fields).json()
    secrets["secret of a client"] = made["client_secret"]
    token = partial(story.ask, "POST", "/oauth/token", key=None)
    form = {"grant_type": "client_credentials"}
    by_header = (made["client_id"], made["client_secret"])
    got = token(data=form, auth=by_header)
    assert got.status_code == 200, got.text
    secrets["access token"] = got.json()["access_token"]
    posted = dict(zip(("client_id", "client_secret"), by_header, strict=True))
    assert token(data=form | posted).status_code == 200
    secrets["wrong secret of a client"] = "sp_secret_" + secret("client")
    token(data=form, auth=(made["client_id"], secrets["wrong secret of a client"]))
    story.answers["by token"] = story.ask("GET", "/api/v1/links", key=secrets["access token"])
    assert story.answers["by token"].status_code == 200
    story.answers["client"] = got
    story.ask("GET", "/api/v1/links", key=secrets["access token"] + "x")
    secrets["access token"] = secrets["access token"].rpartition(".")[2]  # its signature
    for path in ("/oauth/introspect", "/oauth/revoke"):
        story.ask(
            "POST", path, key=None, data={"token": got.json()["access_token"]}, auth=by_header
        )
    _sign_in(story, app)
    _invite(story)


def _sign_in(story: Story, app: Flask) -> None:
    """Somebody signs in, after a try in vain, and lets a program act for them."""
    secrets = story.secrets
    person = story.owner.with_role("editor")
    users: UserService = app.extensions["signpost.services"][UserService]
    secrets["address of mail"] = users.get_user(person.user_id).email
    secrets["password"] = PASSWORD
    fields = {
        "name": "Program",
        "scopes": ["links:read"],
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [CALLBACK],
    }
    made = story.ask("POST", "/api/v1/oauth-clients", json=fields).json()
    client = Program(app, story.owner, made["id"], made["client_id"], made["client_secret"])
    secrets["secret of the program"] = made["client_secret"]
    secrets["state"] = secret("state")
    flow = Flow(client, scope="links:read", state=secrets["state"])
    browser = requests.Session()
    browser.headers["X-Forwarded-For"] = VISITORS[2]
    send = partial(browser.post, allow_redirects=True)
    page = browser.get(story.system.base + flow.address)
    secrets["wrong password"] = secret("password")
    for password in (secrets["wrong password"], PASSWORD):
        form = Form(page.text)
        typed = {"email": secrets["address of mail"], "password": password}
        page = send(story.system.base + form.action, form.fields | typed)
    form = Form(page.text)
    answered = send(
        story.system.base + form.action,
        form.fields | {"answer": "approve", "workspace": form.workspaces[0]},
        allow_redirects=False,
    )
    (secrets["code"],) = parse_qs(urlsplit(answered.headers["Location"]).query)["code"]
    secrets["code verifier"] = flow.verifier
    for name, value in browser.cookies.items():
        secrets[f"cookie {name}"] = value
    redeemed = story.ask(
        "POST",
        "/oauth/token",
        key=None,
        data={
            "grant_type": "authorization_code",
            "code": secrets["code"],
            "redirect_uri": CALLBACK,
            "code_verifier": flow.verifier,
        },
        auth=(made["client_id"], made["client_secret"]),
    ).json()
    secrets["refresh token"] = redeemed["refresh_token"]
    for _ in range(2):  # the second time as who has stolen it
        story.ask(
            "POST",
            "/oauth/token",
            key=None,
            data={"grant_type": "refresh_token", "refresh_token": redeemed["refresh_token"]},
            auth=(made["client_id"], made["client_secret"]),
        )
    for _ in range(5):  # too many
        send(story.system.base + "/oauth/sign-in", {"password": secrets["wrong password"]})


def _invite(story: Story) -> None:
    secrets = story.secrets
    secrets["address of the invited"] = f"{secret('invited')}@example.com"
    invited = story.ask(
        "POST",
        "/api/v1/invitations",
        json={"email": secrets["address of the invited"], "role": "viewer"},
    )
    assert invited.status_code == 201, invited.text
    (secrets["invitation"],) = re.findall(r"sp_invite_[\w-]+", invited.text)
    secrets["password of the invited"] = secret("of the invited")
    accepting = {
        "token": secrets["invitation"],
        "name": "Ida",
        "password": secrets["password of the invited"],
    }
    for _ in range(2):
        story.visit("/api/v1/invitations/accept", 1, method="POST", json=accepting)


def _break_the_server_and_the_schema(story: Story, environ: dict[str, str]) -> None:
    """What nobody expects: bytes that are no request, and a database without its tables."""
    secrets = story.secrets
    secrets["in bytes that are no request"] = secret("bytes")
    for bad in ("GET /%s HTTP/9.9\r\n", "GET / HTTP/1.1\r\nX-Api-Key %s\r\n", "%s\r\n"):
        with socket.create_connection(("127.0.0.1", story.system.port)) as connection:
            connection.sendall((bad % secrets["in bytes that are no request"] + "\r\n").encode())
            connection.recv(4096)
    connection = psycopg2.connect(environ["DATABASE_URL"])
    connection.autocommit = True
    secrets["in a row"] = secret("row")
    target = f"https://example.com/?token={secrets['in a row']}"
    try:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE links RENAME COLUMN title TO titel")
            try:
                failed = story.ask("POST", "/api/v1/links", json={"url": target, "title": "T"})
            finally:
                cursor.execute("ALTER TABLE links RENAME COLUMN titel TO title")
            story.answers["unexpected"] = failed
            name = "refuses_all"
            cursor.execute(f"ALTER TABLE links ADD CONSTRAINT {name} CHECK (slug <> 'refused')")
            try:
                wish = {"url": target, "slug": "refused", "password": secrets["password of a link"]}
                story.answers["row refused"] = story.ask("POST", "/api/v1/links", json=wish)
            finally:
                cursor.execute(f"ALTER TABLE links DROP CONSTRAINT {name}")
    finally:
        connection.close()
    assert failed.status_code == story.answers["row refused"].status_code == 500


def _take_away(story: Story, relays: dict[str, Relay]) -> None:
    """All servers go, and come back after many have asked for them."""
    for relay in relays.values():
        relay.cut()
    away = story.system.events
    until = time.monotonic() + 2
    for number in range(_FAILURES):
        answer = story.ask("GET", "/api/v1/links")
        assert answer.status_code == 503
        story.answers["while all is away"] = answer
        story.visit(f"/{secret('unknown')}", number % len(VISITORS))
        story.visit(f"/{story.links['plain']['slug']}", number % len(VISITORS))
    time.sleep(max(until - time.monotonic(), 0))
    for relay in relays.values():
        relay.restore()

    def is_back() -> bool:
        story.ask("GET", "/api/v1/links")
        told = {event.split(" ")[0] for event in away("web", "is up again")}
        return told >= {"database", "redis", "queue"}

    wait_until(is_back)


def test_no_process_writes_a_secret(told: Story) -> None:
    found = [
        (process, name, line[:300])
        for process, text in told.system.texts.items()
        for name, value in told.secrets.items()
        for line in text.splitlines()
        if value in line
    ]
    assert found == []
    assert len(told.secrets) > 30


def test_no_process_writes_the_whole_address_of_a_visitor(told: Story) -> None:
    for process, text in told.system.texts.items():
        for address in VISITORS:
            assert address not in text, (process, address)
    # They are told of by their networks, where that is of use.
    for address in VISITORS[1:3]:
        network = network_of(ip_address(address))
        assert told.system.events("web", network), network


def test_each_line_is_an_object_with_what_every_line_has(told: Story) -> None:
    for process in told.system.texts:
        lines = told.system.lines(process)
        assert lines
        for line in lines:
            assert {"event", "level", "logger", "timestamp"} <= line.keys()


def test_of_what_goes_away_each_process_tells_once(told: Story) -> None:
    for name in ("database", "redis", "queue"):
        assert len(told.system.events("web", f"{name} is down")) == 1
        assert len(told.system.events("web", f"{name} is up again")) == 1
    for process in ("consumer", "jobs"):
        assert len(told.system.events(process, "database is down")) <= 1
        assert len(told.system.events(process, "queue is down")) == 1
        assert len(told.system.events(process, "queue is up again")) <= 1
    loud = [
        line
        for line in told.system.lines()
        if line["level"] in ("warning", "error") and not line["logger"].startswith("pika")
    ]
    # Of 120 requests that met servers that were away, and what was refused before.
    assert len(loud) < 40, [line["event"] for line in loud]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("list", {"route": "/api/v1/links", "status": 200, "principal": "key"}),
        ("by token", {"route": "/api/v1/links", "status": 200, "principal": "client"}),
        ("wrong key", {"route": "/api/v1/links", "status": 401, "principal": None}),
        ("head", {"method": "HEAD", "status": 200, "bytes": 0}),
        ("no route", {"route": None, "status": 404}),
        ("first visit", {"route": "/<slug:slug>", "status": 302, "cache_level": "database"}),
        ("prepared", {"status": 302, "cache_level": "prepared", "sample": 1.0}),
        ("while all is away", {"status": 503, "error": "Unavailable", "cause": "OperationalError"}),
        ("unexpected", {"status": 500, "error": "ProgrammingError"}),
    ],
)
def test_a_line_tells_of_its_request(told: Story, name: str, expected: dict[str, Any]) -> None:
    answer = told.answers[name]
    line = told.system.line_of(answer)
    if "principal" in expected:
        kind = expected.pop("principal")
        given = line.get("principal", "").partition(":")[0] or None
        assert given == kind
        workspace = told.owner.workspace_id if kind else None
        assert line.get("workspace") == workspace
    assert {key: line.get(key) for key in expected} == expected
    assert line["duration_ms"] > 0
    assert line["bytes"] == len(answer.content)
