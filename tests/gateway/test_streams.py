"""What goes on for long passes the gateway as it comes, and its end is told both ways."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse, IncompleteRead
from typing import Any

import pytest
from sqlalchemy import update

from api.core.database.routing import Database
from api.identity.service import IdentityService
from api.links.models import Link
from config.settings import Settings
from tests.gateway.client import ApiClient, Connection
from tests.gateway.system import HOST, System
from tests.running import wait_until

_LINKS = 1_600
_AT_ONCE = 800
_METADATA = {"note": "x" * 16_000}


@pytest.fixture(scope="module")
def owner(started: System, identity: IdentityService, db: Database) -> ApiClient:
    """Of more than fits into all sockets between a server and a client that does not read."""
    workspace = identity.create_workspace("Streams").id
    _, key = identity.create_key(workspace, name="Streams")
    made = ApiClient(started.gateway, key)
    for server in started.servers:
        server.wait()
    operations = [{"op": "create", "link": {"url": "https://example.com/"}}] * _AT_ONCE
    for _ in range(_LINKS // _AT_ONCE):
        made.call("POST", "/links/batch", {"operations": operations})
    for shard in db.shards():
        with db.write_shard(shard) as session:
            links = update(Link).where(Link.workspace_id == workspace)
            session.execute(links.values(custom=_METADATA))
    return made


def opened(owner: ApiClient, stack: ExitStack, query: str = "") -> HTTPResponse:
    """An export whose answer has begun."""
    connection = Connection(owner.gateway, buffer_bytes=16_384)
    stack.callback(connection.close)
    headers = {**owner.headers, "Host": HOST}
    connection.request("GET", f"/api/v1/exports/links?fields=id,metadata{query}", headers=headers)
    response = connection.getresponse()
    stack.callback(response.close)
    return response


def rows_of(data: bytes) -> Iterator[dict[str, Any]]:
    """What the whole lines say."""
    return map(json.loads, data.splitlines(keepends=False)[: data.count(b"\n")])


def goes_on(owner: ApiClient, stack: ExitStack, cursor: str) -> HTTPResponse:
    """The rest of an export, as soon as servers that were replaced give it."""
    answers: list[HTTPResponse] = []

    def given() -> bool:
        answers.append(opened(owner, stack, f"&cursor={cursor}"))
        return answers[-1].status == 200

    wait_until(given, 20)
    return answers[-1]


def test_export_that_a_server_ends_is_known_as_such_and_goes_on(
    system: System, owner: ApiClient
) -> None:
    with ExitStack() as stack:
        response = opened(owner, stack)
        assert response.status == 200
        data = response.read(10_000)
        for server in system.apis:
            server.renew()
        with pytest.raises(IncompleteRead) as cut:
            response.read()
        *rows, last = rows_of(data + cut.value.partial)
        assert last["end"]["complete"] is False
        assert 0 < len(rows) < _LINKS
        *rest, last = rows_of(goes_on(owner, stack, last["end"]["cursor"]).read())
    assert last["end"]["complete"] is True
    assert len({row["id"] for row in rows + rest}) == len(rows) + len(rest) == _LINKS


def test_servers_hear_of_clients_that_leave_an_export(system: System, owner: ApiClient) -> None:
    def statuses(count: int) -> list[int]:
        with ExitStack() as stack:
            return [opened(owner, stack).status for _ in range(count)]

    places = len(system.apis) * Settings().export_streams_per_workspace
    assert 429 in statuses(2 * places)
    wait_until(lambda: statuses(places) == [200] * places, 10)


def test_import_of_any_size_arrives_while_it_is_sent_and_goes_on(
    system: System, api: ApiClient
) -> None:
    key = uuid.uuid4().hex
    rows = [
        json.dumps({"url": "https://example.com/", "title": f"{number} {'x' * 400}"}).encode()
        + b"\n"
        for number in range(6_000)
    ]
    assert sum(map(len, rows)) > Settings().max_body_bytes

    def imported() -> dict[str, Any]:
        found = api.call("GET", f"/imports?idempotency_key={key}")["data"]
        return dict(found[0]) if found else {"rows": 0}

    def halfway() -> Iterator[bytes]:
        yield b"".join(rows[:3_500])
        # Not when all of it has come: the gateway keeps nothing back.
        wait_until(lambda: imported()["rows"] >= 3_000, 20)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        api.import_rows(key, halfway())
    assert imported()["state"] == "receiving"
    answer = api.import_rows(key, iter(rows))
    assert (answer.status, answer.json["rows"]) == (202, len(rows))
