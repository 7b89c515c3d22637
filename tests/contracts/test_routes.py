"""Rules that every route keeps, held against the routes themselves; see also test_access.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule

from api.operations.openapi import describe
from tests.answers import problem
from tests.caller import Caller

# Whoever adds a route without a scope writes it here, on purpose.
PUBLIC = {
    "docs.asset",
    "docs.docs",
    "docs.docs_with_slash",
    "docs.openapi",
    "erasures.get_erasure",  # asks for a token of its own
    "members.accept_invitation",  # asks for a token of its own
    "oauth.jwks",
    "oauth.server_metadata",
    # These ask clients for their own credentials.
    "oauth.begin_device",
    "oauth.introspect",
    "oauth.revoke",
    "oauth.token",
    # These ask people to sign in.
    "oauth_pages.answer_device",
    "oauth_pages.authorize",
    "oauth_pages.authorize_page",
    "oauth_pages.device_page",
    "oauth_pages.sign_in",
    "oauth_pages.sign_in_page",
    "oauth_pages.sign_out",
    "operations.live",
    "operations.metrics",  # asks for a token of its own
    "operations.ready",
    "operations.startup",
    "redirects.favicon",
    "redirects.follow",
    "redirects.follow_with_password",
    "redirects.home",
    "redirects.robots",
    "status.status",  # asks for a token of its own, or is public
}
API = "/api/v1"


def guarded_rules(app: Flask) -> Iterator[tuple[Rule, str | None]]:
    """Routes that need a credential, with their scope; None where it must be a user's."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if hasattr(view, "required_scope"):
            yield rule, view.required_scope


def scoped_rules(app: Flask) -> Iterator[tuple[Rule, str]]:
    return ((rule, scope) for rule, scope in guarded_rules(app) if scope is not None)


def methods_of(rule: Rule) -> list[str]:
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def path_of(rule: Rule, identifier: str = "1") -> str:
    path = rule.rule
    for argument in rule.arguments:
        path = path.replace(f"<id:{argument}>", identifier)
    assert "<" not in path, f"{rule} has an argument that this test does not know"
    return path.removeprefix(API)


def test_each_route_declares_a_scope_or_is_public_on_purpose(app: Flask) -> None:
    unguarded = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if not hasattr(app.view_functions[rule.endpoint], "required_scope")
    }
    assert unguarded == PUBLIC


def test_without_a_credential_each_guarded_route_answers_401(app: Flask) -> None:
    for rule, _ in guarded_rules(app):
        for method in methods_of(rule):
            answer = app.test_client().open(API + path_of(rule), method=method)
            assert answer.status_code == 401, (method, rule)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), (method, rule)


def test_without_its_scope_each_route_answers_403(app: Flask, caller: Caller) -> None:
    narrow: dict[str, Caller] = {}
    for rule, scope in scoped_rules(app):
        poor = narrow.setdefault(scope, caller.without(scope))
        for method in methods_of(rule):
            answer = poor.request(method, path_of(rule))
            assert answer.status_code == 403, (method, rule)
            assert scope in answer.headers["WWW-Authenticate"], (method, rule)


def test_without_a_user_routes_about_users_answer_403(app: Flask, caller: Caller) -> None:
    about_users = [rule for rule, scope in guarded_rules(app) if scope is None]
    assert {rule.rule for rule in about_users} == {"/api/v1/users/me"}
    for rule in about_users:
        for method in methods_of(rule):
            problem(caller.request(method, path_of(rule), json={}), 403, "user-needed")


def test_each_route_that_changes_something_is_audited(app: Flask) -> None:
    names = set()
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        action = getattr(view, "audited_action", None)
        changes = set(methods_of(rule)) != {"GET"}
        assert (action is not None) == (changes and rule.endpoint not in PUBLIC), rule
        if action is not None:
            assert re.fullmatch(r"[a-z_]+\.[a-z_]+", action)
            assert action not in names
            names.add(action)
    assert names >= {"link.create", "link.batch", "key.create", "member.update", "clicks.erase"}


@pytest.mark.parametrize(
    "path",
    (
        "/links /api-keys /domains /workspaces /members /invitations /audit-events /oauth-clients "
        "/blocked-targets"
    ).split(),
)
def test_each_list_is_a_page(path: str, caller: Caller) -> None:
    answer = caller.get(path).json or {}
    assert set(answer) == {"data", "next_cursor"}


def test_each_operation_is_described_in_full(app: Flask) -> None:
    description = describe(app.extensions["signpost.openapi"])
    names = set()
    for path, operation in operations(description):
        name = operation["operationId"]
        assert name not in names
        names.add(name)
        assert operation["summary"], name
        public = {f"members.{name}", f"erasures.{name}"} & PUBLIC
        if path.startswith(API) and not public:
            assert set(operation["responses"]) >= {"401", "403"}, name
            assert operation["security"], name
        if "requestBody" in operation and path.startswith(API):
            content, *others = operation["requestBody"]["content"].values()
            if "contentMediaType" in content["schema"]:  # a stream, which no schema describes
                continue
            assert not others, name
            reference = content["schema"]["$ref"].rpartition("/")[2]
            fields = description["components"]["schemas"][reference]["properties"]
            assert any("example" in field for field in fields.values()), name


def test_each_route_is_in_the_description(app: Flask) -> None:
    described = {
        operation["operationId"]
        for _, operation in operations(describe(app.extensions["signpost.openapi"]))
    }
    for rule, _ in scoped_rules(app):
        assert rule.endpoint.rpartition(".")[2] in described


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in description["paths"].items():
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield path, operation
