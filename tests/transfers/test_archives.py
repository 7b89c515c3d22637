"""Everything of a workspace as one archive."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from typing import Any

import pytest

from tests.caller import Caller
from tests.factories.clicks import a_click
from tests.transfers.conftest import Count


def download(caller: Caller) -> zipfile.ZipFile:
    answer = caller.get(f"/workspaces/{caller.workspace_id}/archive")
    assert answer.status_code == 200
    assert answer.content_type == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    assert archive.testzip() is None
    return archive


def lines_of(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(name).splitlines()]


@pytest.fixture
def owner(caller: Caller, count: Count) -> Caller:
    """Of a workspace that has something of everything."""
    owner = caller.with_role("owner")
    links = [owner.create_link(tags=["a"], metadata={"n": number}) for number in range(3)]
    owner.delete(f"/links/{links[2]['id']}")
    count([a_click(int(link["id"]), workspace_id=caller.workspace_id) for link in links])
    name = f"w{caller.workspace_id}"
    for path, body in (
        ("/domains", {"host": f"{name}.example"}),
        ("/invitations", {"email": f"{name}@example.com", "role": "viewer"}),
        ("/blocked-targets", {"kind": "host", "value": f"{name}.example.org"}),
        (
            "/oauth-clients",
            {"name": "Program", "grant_types": ["client_credentials"], "scopes": ["links:read"]},
        ),
    ):
        made = owner.post(path, body)
        assert made.status_code == 201, made.text
    return owner


def test_an_archive_has_everything_and_says_what(owner: Caller, other_caller: Caller) -> None:
    other_caller.create_link("https://foreign.example/")
    archive = download(owner)
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["workspace_id"] == str(owner.workspace_id)
    assert archive.namelist()[-1] == "manifest.json"
    assert set(archive.namelist()) == {*manifest["files"], "manifest.json"}
    for name, told in manifest["files"].items():
        content = archive.read(name)
        assert told["bytes"] == len(content)
        assert told["sha256"] == hashlib.sha256(content).hexdigest()
        assert b"foreign.example" not in content
    rows = {name: told["rows"] for name, told in manifest["files"].items()}
    assert rows.pop("audit_events.ndjson") >= 8
    assert rows == {
        "README.txt": None,
        "workspace.json": None,
        "memberships.ndjson": 1,
        "invitations.ndjson": 1,
        "domains.ndjson": 1,
        "api_keys.ndjson": 2,
        "oauth_clients.ndjson": 1,
        "target_rules.ndjson": 1,
        "links.ndjson": 2,
        "clicks.ndjson": 3,
        "statistics.json": None,
    }
    listed = owner.get("/links").json["data"]  # type: ignore[index]
    links = lines_of(archive, "links.ndjson")
    assert [link["id"] for link in links[:-1]] == [link["id"] for link in listed][::-1]
    assert links[0]["metadata"] == {"n": 0}
    assert links[-1]["end"]["complete"] is True
    assert json.loads(archive.read("statistics.json"))["total"]["clicks"] == 3
    (member,) = lines_of(archive, "memberships.ndjson")
    assert (member["role"], member["user_id"]) == ("owner", str(owner.user_id))
    assert "@" in member["email"]


def test_no_secret_is_in_an_archive(owner: Caller) -> None:
    archive = download(owner)
    names = {
        name
        for file in archive.namelist()
        if file.endswith(".ndjson")
        for line in lines_of(archive, file)
        for name in line
    }
    assert not {name for name in names if "hash" in name or "secret" in name}
    text = b"".join(map(archive.read, archive.namelist()))
    assert owner.key.encode() not in text


def test_an_archive_can_be_imported_as_it_is(owner: Caller, other_caller: Caller) -> None:
    rows = download(owner).read("links.ndjson")
    made = other_caller.request(
        "POST", "/imports?dry_run=true", data=rows, content_type="application/x-ndjson"
    )
    assert made.status_code == 202, made.text


def test_only_who_manages_the_workspace_gets_its_archive(
    owner: Caller, other_caller: Caller
) -> None:
    path = f"/workspaces/{owner.workspace_id}/archive"
    assert other_caller.get(path).status_code == 404
    assert owner.with_role("editor").get(path).status_code == 403


def test_an_archive_that_nobody_reads_on_is_cut_off_and_gives_its_place_back(
    owner: Caller,
) -> None:
    path = f"/workspaces/{owner.workspace_id}/archive"
    for _ in range(10):
        answer = owner.get(path, buffered=False)
        assert answer.status_code == 200
        next(iter(answer.response))
        answer.close()
    assert download(owner).namelist()


def test_memory_does_not_grow_with_the_archive(caller: Caller) -> None:
    owner = caller.with_role("owner")
    path = f"/workspaces/{owner.workspace_id}/archive"

    def peak() -> int:
        tracemalloc.start()
        answer = owner.get(path, buffered=False)
        for _ in answer.response:
            pass
        size_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        answer.close()
        return size_bytes

    def fill(batches: int) -> None:
        text = "x" * 400
        create = {"op": "create", "link": {"url": "https://example.com/", "title": text}}
        for _ in range(batches):
            assert owner.post("/links/batch", {"operations": [create] * 1000}).status_code == 200

    fill(1)
    peak()  # what is loaded once
    few = peak()
    fill(4)
    assert peak() < few * 1.5
