"""Every endpoint as it is used: a call of each, on things that a workspace has some or many of.

For each the most statements that it may send. One that nobody has told this of makes a test fail.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from api.core.database.routing import Database
from api.oauth.clients import DEVICE
from tests.caller import PASSWORD, Caller
from tests.conftest import OPERATOR
from tests.factories.clicks import a_click, a_segment
from tests.oauth.people import Flow, Form, Person
from tests.oauth.programs import CALLBACK, Program
from tests.redirects.visitor import Visitor

Call = Callable[[], TestResponse]
_numbers = itertools.count()
_limits = itertools.cycle(range(1, 500))


def _new_name() -> str:
    return f"n{next(_numbers)}-{secrets.token_hex(4)}"


@dataclass
class Stage:
    """A workspace that has `size` of each thing, and whoever acts in it."""

    app: Flask
    db: Database
    owner: Caller
    size: int
    count: Callable[[Any], Any]
    ids: dict[str, str] = field(default_factory=dict)

    def fill(self) -> None:
        """Make the things."""
        for number in range(self.size):
            name = _new_name()
            self.ids |= {
                "link": self.new_link(tags=[f"tag{n}" for n in range(min(self.size, 20))])["id"],
                "domain": self.make("/domains", {"host": f"{name}.example"})["id"],
                "key": self.make("/api-keys", {"name": name})["id"],
                "invitation": self.make("/invitations", self.invited())["id"],
                "rule": self.make("/blocked-targets", self.blocked())["id"],
                "client": self.program().id,
                "member": str(self.owner.with_role("viewer").user_id),
            }
            if number:
                self.make("/workspaces", {"name": name})
        # Of many links, days and countries.
        clicks = [
            a_click(int(self.new_link()["id"]), workspace_id=self.owner.workspace_id)
            for _ in range(self.size)
        ]
        link = int(self.ids["link"])
        clicks += [
            a_click(link, workspace_id=self.owner.workspace_id, query=f"utm_source={number}")
            for number in range(self.size)
        ]
        self.count(a_segment(clicks))

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A thing that must come to be."""
        answer = self.owner.post(path, body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json or {})

    def erased(self) -> tuple[Caller, str]:
        """An owner of another workspace, and the path at which its erasure is asked for."""
        made = self.make("/workspaces", {"name": "Old", "key_name": "Last"})
        owner = replace(self.owner, workspace_id=int(made["id"]), key=made["key"])
        return owner, f"/workspaces/{made['id']}/erasure"

    def import_rows(self) -> TestResponse:
        """An import of as many rows as there are things."""
        rows = b"\n".join(json.dumps(_link(number)).encode() for number in range(self.size))
        answer = self.owner.request(
            "POST", "/imports", data=rows, content_type="application/x-ndjson"
        )
        assert answer.status_code == 202, answer.text
        return answer

    def imported(self) -> str:
        """An import that waits for a worker."""
        return str((self.import_rows().json or {})["id"])

    def new_link(self, **fields: Any) -> dict[str, Any]:
        return self.owner.create_link("https://example.com/here", **fields)

    def program(self, **fields: Any) -> Program:
        fields = {"grant_types": ["client_credentials"]} | fields
        return Program.registered(self.owner, name=_new_name(), **fields)

    def person(self) -> Person:
        """A member who has signed in."""
        person = Person.of(self.owner)
        person.sign_in()
        return person

    def flow(self) -> Flow:
        grants = ["authorization_code", "refresh_token"]
        return Flow(self.program(grant_types=grants, redirect_uris=[CALLBACK]))

    def invited(self) -> dict[str, str]:
        return {"email": f"{_new_name()}@example.com", "role": "viewer"}

    def blocked(self) -> dict[str, str]:
        return {"kind": "host", "value": f"{_new_name()}.evil.example"}

    def visitor(self) -> Visitor:
        return Visitor(self.app)

    def get(self, path: str, name: str = "") -> Call:
        """The call of a list, or of a thing in it."""
        address = f"{path}/{self.ids[name]}" if name else path
        return lambda: self.owner.get(address)

    def post(self, path: str, body: Any) -> Call:
        return lambda: self.owner.post(path, body)

    def patch(self, path: str, body: Any) -> Call:
        return lambda: self.owner.patch(path, body)

    def delete(self, path: str) -> Call:
        return lambda: self.owner.delete(path)

    def open(self, path: str, **kwargs: Any) -> Call:
        """The call of somebody without a credential."""
        return lambda: self.app.test_client().get(path, **kwargs)


def _stats(stage: Stage, of: str = "") -> Call:
    """A question that no answer is kept of, in months whose midnights are not those of UTC."""
    query = f"interval=month&timezone=Asia/Kathmandu&group_by=country&limit={next(_limits)}"
    return stage.get(f"{of}/stats?from=2026-01-01&{query}")


def _link(number: int) -> dict[str, Any]:
    """A link to a host that no other leads to."""
    return {"url": f"https://host-{number}.{_new_name()}.example/", "tags": ["a", "b"]}


def _batch(stage: Stage) -> Call:
    """Of each kind as many operations as there are things, those of a kind one behind another."""
    changed = [stage.new_link()["id"] for _ in range(stage.size)]
    deleted = [stage.new_link()["id"] for _ in range(stage.size)]
    creations = [_link(number) for number in range(stage.size)]
    creations += [link | {"domain": "nobodys.example"} for link in creations]
    operations = [
        *({"op": "create", "link": link} for link in creations),
        *({"op": "update", "id": each, "link": _link(n)} for n, each in enumerate(changed)),
        *({"op": "delete", "id": each} for each in deleted),
    ]
    return stage.post("/links/batch", {"operations": operations})


def _erase(stage: Stage) -> Call:
    owner, path = stage.erased()
    return lambda: owner.post(path, {"name": "Old"})


def _erasure(stage: Stage) -> Call:
    asked = _erase(stage)().headers["Location"]
    return lambda: stage.app.test_client().get(asked)


def _accept(stage: Stage) -> Call:
    token = stage.make("/invitations", stage.invited())["token"]
    return stage.post("/invitations/accept", {"token": token, "name": "Ann", "password": PASSWORD})


def _member(stage: Stage) -> str:
    return f"/members/{stage.owner.with_role('viewer').user_id}"


def _protected(stage: Stage) -> Call:
    link = stage.new_link(password="open")
    return lambda: stage.visitor().unlock(link, "open")


def _limited(stage: Stage) -> Call:
    """A link that is in no cache, and of which every use is counted."""
    link = stage.new_link(max_clicks=5)
    return lambda: stage.visitor().follow(link)


def _token(stage: Stage) -> Call:
    """The costliest kind: a code for tokens."""
    flow = stage.flow()
    code = flow.code(stage.person())
    return lambda: flow.redeem(code)


def _device(stage: Stage) -> tuple[Program, dict[str, Any]]:
    tool = stage.program(client_type="public", grant_types=[DEVICE, "refresh_token"])
    return tool, dict(tool.post("/oauth/device_authorization").json or {})


def _begin_device(stage: Stage) -> Call:
    tool, _ = _device(stage)
    return lambda: tool.post("/oauth/device_authorization")


def _revoke(stage: Stage) -> Call:
    flow = stage.flow()
    given = flow.tokens(stage.person())
    return lambda: flow.program.post("/oauth/revoke", token=given["refresh_token"])


def _introspect(stage: Stage) -> Call:
    flow = stage.flow()
    given = flow.tokens(stage.person())
    return lambda: flow.program.post("/oauth/introspect", token=given["refresh_token"])


def _form(person: Person, page: TestResponse, **fields: str) -> Call:
    form = Form(page.text)
    return lambda: person.browser.post(form.action, data=form.fields | fields)


def _sign_in(stage: Stage) -> Call:
    person = Person.of(stage.owner)
    page = person.open("/oauth/sign-in")
    return _form(person, page, email=person.email, password=person.password)


def _sign_out(stage: Stage) -> Call:
    person = stage.person()
    forms = Form(person.open("/oauth/sign-in").text).forms
    (fields,) = [fields for action, fields in forms if action == "/oauth/sign-out"]
    return lambda: person.browser.post("/oauth/sign-out", data=fields)


def _authorize_page(stage: Stage) -> Call:
    flow, person = stage.flow(), stage.person()
    return lambda: person.browser.get(flow.address)


def _authorize(stage: Stage) -> Call:
    flow, person = stage.flow(), stage.person()
    page = person.open(flow.address)
    return _form(person, page, answer="approve", workspace=Form(page.text).workspaces[0])


def _device_page(stage: Stage) -> Call:
    person = stage.person()
    return lambda: person.browser.get("/oauth/device")


def _answer_device(stage: Stage) -> Call:
    person = stage.person()
    _, device = _device(stage)
    page = person.send(person.open("/oauth/device"), user_code=device["user_code"])
    return _form(person, page, answer="approve", workspace=Form(page.text).workspaces[0])


# What is asked for at most once in some seconds, whoever comes, is not among the statements: which
# key it is, which plan, what is blocked, which shard has what.
ENDPOINTS: dict[str, tuple[int, Callable[[Stage], Call]]] = {
    "links.create_link": (2, lambda it: it.post("/links", {"url": "https://example.com/"})),
    "links.list_links": (1, lambda it: it.get("/links?limit=200")),
    "links.get_link": (1, lambda it: it.get("/links", "link")),
    "links.update_link": (
        5,
        lambda it: it.patch(f"/links/{it.new_link(tags=['a'])['id']}", {"tags": ["b", "c"]}),
    ),
    "links.delete_link": (4, lambda it: it.delete(f"/links/{it.new_link(tags=['a'])['id']}")),
    "links.batch_links": (14, _batch),
    "links.get_link_qr": (1, lambda it: it.get(f"/links/{it.ids['link']}/qr")),
    "stats.link_stats": (6, lambda it: _stats(it, f"/links/{it.ids['link']}")),
    "stats.workspace_stats": (4, _stats),
    "orphans.orphan_stats": (2, lambda it: it.get("/stats/orphans")),
    "clicks.list_clicks": (2, lambda it: it.get(f"/links/{it.ids['link']}/clicks?limit=200")),
    "clicks.erase_clicks": (12, lambda it: it.delete(f"/links/{it.new_link()['id']}/clicks")),
    "live.watch_workspace": (0, lambda it: it.get("/live")),
    "live.watch_link": (1, lambda it: it.get(f"/links/{it.ids['link']}/live")),
    "exports.export_links": (2, lambda it: it.get("/exports/links")),
    "exports.export_clicks": (2, lambda it: it.get("/exports/clicks")),
    "domains.claim_domain": (
        2,
        lambda it: it.post("/domains", {"host": f"{_new_name()}.example"}),
    ),
    "domains.list_domains": (1, lambda it: it.get("/domains?limit=200")),
    "domains.get_domain": (1, lambda it: it.get("/domains", "domain")),
    "domains.release_domain": (
        2,
        lambda it: it.delete(
            f"/domains/{it.make('/domains', {'host': _new_name() + '.example'})['id']}"
        ),
    ),
    "archives.archive_workspace": (
        1,
        lambda it: it.get(f"/workspaces/{it.owner.workspace_id}/archive"),
    ),
    "erasures.erase_workspace": (20, _erase),
    "erasures.get_erasure": (1, _erasure),
    "identity.list_workspaces": (1, lambda it: it.get("/workspaces")),
    "identity.create_workspace": (4, lambda it: it.post("/workspaces", {"name": "New"})),
    "identity.get_workspace": (1, lambda it: it.get(f"/workspaces/{it.owner.workspace_id}")),
    "identity.update_workspace": (
        2,
        lambda it: it.patch(f"/workspaces/{it.owner.workspace_id}", {"name": _new_name()}),
    ),
    "identity.create_api_key": (2, lambda it: it.post("/api-keys", {"name": "New"})),
    "identity.list_api_keys": (1, lambda it: it.get("/api-keys?limit=200")),
    "identity.get_api_key": (1, lambda it: it.get("/api-keys", "key")),
    "identity.revoke_api_key": (
        2,
        lambda it: it.delete(f"/api-keys/{it.make('/api-keys', {'name': 'Old'})['id']}"),
    ),
    "members.list_members": (1, lambda it: it.get("/members?limit=200")),
    "members.get_member": (1, lambda it: it.get("/members", "member")),
    "members.update_member": (5, lambda it: it.patch(_member(it), {"role": "editor"})),
    "members.remove_member": (5, lambda it: it.delete(_member(it))),
    "members.create_invitation": (4, lambda it: it.post("/invitations", it.invited())),
    "members.list_invitations": (1, lambda it: it.get("/invitations?limit=200")),
    "members.get_invitation": (1, lambda it: it.get("/invitations", "invitation")),
    "members.revoke_invitation": (
        3,
        lambda it: it.delete(f"/invitations/{it.make('/invitations', it.invited())['id']}"),
    ),
    "members.accept_invitation": (6, _accept),
    "users.get_me": (2, lambda it: it.get("/users/me")),
    "users.update_me": (
        5,
        lambda it: it.patch("/users/me", {"current_password": PASSWORD, "name": _new_name()}),
    ),
    "audit.list_audit_events": (1, lambda it: it.get("/audit-events?limit=200")),
    "oauth_clients.create_oauth_client": (2, lambda it: it.post("/oauth-clients", _CLIENT)),
    "oauth_clients.list_oauth_clients": (1, lambda it: it.get("/oauth-clients?limit=200")),
    "oauth_clients.get_oauth_client": (1, lambda it: it.get("/oauth-clients", "client")),
    "oauth_clients.update_oauth_client": (
        3,
        lambda it: it.patch(f"/oauth-clients/{it.program().id}", {"name": _new_name()}),
    ),
    "oauth_clients.renew_oauth_client_secret": (
        3,
        lambda it: it.post(f"/oauth-clients/{it.ids['client']}/secret", None),
    ),
    "oauth_clients.delete_oauth_client": (
        3,
        lambda it: it.delete(f"/oauth-clients/{it.program().id}"),
    ),
    "targets.block_target": (8, lambda it: it.post("/blocked-targets", it.blocked())),
    "targets.list_blocked_targets": (1, lambda it: it.get("/blocked-targets?limit=200")),
    "targets.get_blocked_target": (1, lambda it: it.get("/blocked-targets", "rule")),
    "targets.unblock_target": (
        6,
        lambda it: it.delete(f"/blocked-targets/{it.make('/blocked-targets', it.blocked())['id']}"),
    ),
    "imports.create_import": (6, lambda it: it.import_rows),
    "imports.list_imports": (1, lambda it: it.get("/imports?limit=200")),
    "imports.get_import": (1, lambda it: it.get(f"/imports/{it.imported()}")),
    "imports.stream_import_outcomes": (2, lambda it: it.get(f"/imports/{it.imported()}/outcomes")),
    "imports.watch_import": (2, lambda it: it.get(f"/imports/{it.imported()}/events")),
    "imports.delete_import": (2, lambda it: it.delete(f"/imports/{it.imported()}")),
    "limits.get_usage": (0, lambda it: it.get("/usage")),
    "docs.openapi": (0, lambda it: it.open("/api/v1/openapi.json")),
    "docs.docs": (0, lambda it: it.open("/docs")),
    "docs.docs_with_slash": (0, lambda it: it.open("/docs/")),
    "docs.asset": (0, lambda it: it.open("/docs/assets/docs.js")),
    "oauth.jwks": (0, lambda it: it.open("/.well-known/jwks.json")),
    "oauth.server_metadata": (
        0,
        lambda it: it.open("/.well-known/oauth-authorization-server"),
    ),
    "oauth.token": (7, _token),
    "oauth.begin_device": (2, _begin_device),
    "oauth.revoke": (5, _revoke),
    "oauth.introspect": (2, _introspect),
    "oauth_pages.sign_in_page": (0, lambda it: it.open("/oauth/sign-in")),
    "oauth_pages.sign_in": (4, _sign_in),
    "oauth_pages.sign_out": (1, _sign_out),
    "oauth_pages.authorize_page": (4, _authorize_page),
    "oauth_pages.authorize": (8, _authorize),
    "oauth_pages.device_page": (1, _device_page),
    "oauth_pages.answer_device": (8, _answer_device),
    "operations.live": (0, lambda it: it.open("/health/live")),
    "operations.ready": (0, lambda it: it.open("/health/ready")),
    "operations.startup": (0, lambda it: it.open("/health/startup")),
    "operations.metrics": (0, lambda it: it.open("/metrics", headers=OPERATOR)),
    "status.status": (0, lambda it: it.open("/status", headers=OPERATOR)),
    "redirects.follow": (2, _limited),
    "redirects.follow_with_password": (1, _protected),
    "redirects.home": (0, lambda it: it.open("/")),
    "redirects.robots": (0, lambda it: it.open("/robots.txt")),
    "redirects.favicon": (0, lambda it: it.open("/favicon.ico")),
}
_CLIENT = {"name": "New", "grant_types": ["client_credentials"], "scopes": ["links:read"]}
