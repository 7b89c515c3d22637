"""Who may do what with links: every route refuses the same ways."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.answers import problem
from tests.caller import BASE, Caller

OPERATIONS = {"operations": [{"op": "create", "link": {"url": "https://example.com/"}}]}
ROUTES: list[tuple[str, str, str, Any]] = [
    ("POST", "/links", "links:write", {"url": "https://example.com/"}),
    ("GET", "/links", "links:read", None),
    ("GET", "/links/{id}", "links:read", None),
    ("PATCH", "/links/{id}", "links:write", {"title": "x"}),
    ("DELETE", "/links/{id}", "links:write", None),
    ("POST", "/links/batch", "links:write", OPERATIONS),
    ("GET", "/links/{id}/qr", "links:read", None),
]
ONE_LINK = [route for route in ROUTES if "{id}" in route[1]]


@pytest.mark.parametrize(("method", "path", "scope", "body"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer sp_live_" + "a" * 43},
        {"Authorization": "Bearer \xe9"},
        {"X-Api-Key": "sp_live_" + "a" * 43},
    ],
)
def test_no_valid_credential_answers_401(
    client: FlaskClient, method: str, path: str, scope: str, body: Any, headers: dict[str, str]
) -> None:
    path = BASE + path.format(id=1)
    response = client.open(path, method=method, json=body, headers=headers)
    problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="signpost"')


@pytest.mark.parametrize(("method", "path", "scope", "body"), ROUTES)
def test_missing_scope_answers_403(
    caller: Caller, method: str, path: str, scope: str, body: Any
) -> None:
    link = caller.create_link()
    response = caller.without(scope).request(method, path.format(id=link["id"]), json=body)
    problem(response, 403, "insufficient-scope")
    assert f'scope="{scope}"' in response.headers["WWW-Authenticate"]
    assert caller.get(f"/links/{link['id']}").json == link


@pytest.mark.parametrize(("method", "path", "scope", "body"), ROUTES)
def test_the_scope_alone_is_enough(
    caller: Caller, method: str, path: str, scope: str, body: Any
) -> None:
    link = caller.create_link()
    response = caller.with_scopes(scope).request(method, path.format(id=link["id"]), json=body)
    assert response.status_code < 300


@pytest.mark.parametrize(("method", "path", "scope", "body"), ONE_LINK)
def test_link_of_another_workspace_answers_404(
    caller: Caller, other_caller: Caller, method: str, path: str, scope: str, body: Any
) -> None:
    link = caller.create_link(title="mine")
    response = other_caller.request(method, path.format(id=link["id"]), json=body)
    problem(response, 404, "not-found")
    assert "mine" not in response.text
    assert caller.get(f"/links/{link['id']}").json == link


@pytest.mark.parametrize(("method", "path", "scope", "body"), ONE_LINK)
@pytest.mark.parametrize(
    "identifier", ["1", "0", str(2**63 - 1), str(2**63), "9" * 30, "x", "-1", "%00"]
)
def test_unknown_id_answers_404(
    caller: Caller, method: str, path: str, scope: str, body: Any, identifier: str
) -> None:
    problem(caller.request(method, path.format(id=identifier), json=body), 404)


def test_key_is_also_taken_from_x_api_key(client: FlaskClient, caller: Caller) -> None:
    assert client.get(BASE + "/links", headers={"X-Api-Key": caller.key}).status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/links", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/links/1", {"GET", "HEAD", "OPTIONS", "PATCH", "DELETE"}),
        ("/links/batch", {"OPTIONS", "POST"}),
    ],
)
def test_other_methods_answer_405_with_those_allowed(
    caller: Caller, path: str, allowed: set[str]
) -> None:
    response = caller.request("PUT", path)
    problem(response, 405)
    assert set(response.headers["Allow"].split(", ")) == allowed
