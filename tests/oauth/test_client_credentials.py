"""Client credentials, and the token endpoint itself (RFC 6749)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask import Flask
from flask.testing import FlaskClient

from api.core.principal import SCOPES
from tests.answers import problem
from tests.caller import Caller
from tests.oauth.programs import CALLBACK, Program, oauth_error


def test_token_acts_for_the_clients_workspace(program: Program, caller: Caller) -> None:
    link = caller.create_link()
    answer = program.ask(grant_type="client_credentials")
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json or {}
    token = body.pop("access_token")
    assert body == {
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": " ".join(sorted(SCOPES)),
    }
    assert [each["id"] for each in (program.links(token).json or {})["data"]] == [link["id"]]


def test_token_reaches_no_other_workspace(program: Program, other_caller: Caller) -> None:
    link = other_caller.create_link()
    headers = {"Authorization": f"Bearer {program.access_token()}"}
    path = f"/api/v1/links/{link['id']}"
    problem(program.app.test_client().get(path, headers=headers), 404, "not-found")


def test_token_has_the_scopes_that_were_asked_for(program: Program) -> None:
    narrow = program.token(scope="stats:read")
    assert narrow["scope"] == "stats:read"
    problem(program.links(narrow["access_token"]), 403, "insufficient-scope")


def test_scope_beyond_the_client_is_refused(caller: Caller) -> None:
    program = Program.registered(caller, grant_types=["client_credentials"], scopes=["links:read"])
    for scope in ("links:write", "links:read links:write", "root"):
        oauth_error(program.ask(grant_type="client_credentials", scope=scope), "invalid_scope")
    assert program.token()["scope"] == "links:read"


def test_secret_may_be_in_the_form(program: Program) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": program.client_id,
        "client_secret": program.secret,
    }
    assert program.app.test_client().post("/oauth/token", data=form).status_code == 200


def test_wrong_credentials_are_refused_with_a_challenge(program: Program, app: Flask) -> None:
    client = app.test_client()
    form = {"grant_type": "client_credentials"}
    for auth in (
        (program.client_id, "wrong"),
        ("unknown", program.secret),
        (program.client_id, ""),
        ("", ""),
    ):
        answer = client.post("/oauth/token", data=form, auth=auth)  # type: ignore[arg-type]
        oauth_error(answer, "invalid_client", 401)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="signpost"'
    oauth_error(client.post("/oauth/token", data=form), "invalid_client", 401)
    oauth_error(
        client.post("/oauth/token", data=form | {"client_id": program.client_id}),
        "invalid_client",
        401,
    )


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"%00:%00").decode(),
        "Bearer sp_live_x",
        "Digest username=x",
        "\xff",
    ],
)
def test_unreadable_credentials_are_refused(header: str, client: FlaskClient) -> None:
    answer = client.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": header},
    )
    oauth_error(answer, "invalid_client", 401)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": 'x"y'}, "invalid_request"),
        ({"grant_type": "x\x00"}, "invalid_request"),
        ({"grant_type": "client_credentials", "scope": "é"}, "invalid_request"),
        ({"grant_type": "client_credentials", "scope": "x" * 5_000}, "invalid_request"),
        ({"grant_type": ["client_credentials", "client_credentials"]}, "invalid_request"),
    ],
)
def test_malformed_requests_are_told_in_the_standards_form(
    form: dict[str, Any], error: str, program: Program
) -> None:
    answer = program.app.test_client().post(
        "/oauth/token", data=form, auth=(program.client_id, str(program.secret))
    )
    oauth_error(answer, error)


def test_parameters_in_the_address_do_not_count(program: Program) -> None:
    """RFC 6749 section 2.3.1: an address ends up in logs."""
    query = f"client_id={program.client_id}&client_secret={program.secret}"
    path = f"/oauth/token?grant_type=client_credentials&{query}"
    oauth_error(program.app.test_client().post(path), "unsupported_grant_type")
    assert program.app.test_client().get(path).status_code == 405


def test_json_is_no_form(program: Program) -> None:
    answer = program.app.test_client().post(
        "/oauth/token",
        json={"grant_type": "client_credentials"},
        auth=(program.client_id, str(program.secret)),
    )
    oauth_error(answer, "unsupported_grant_type")


def test_client_gets_only_the_grants_it_is_registered_for(caller: Caller) -> None:
    program = Program.registered(
        caller, grant_types=["authorization_code"], redirect_uris=[CALLBACK]
    )
    oauth_error(program.ask(grant_type="client_credentials"), "unauthorized_client")


def test_public_client_has_no_credentials_of_its_own(caller: Caller) -> None:
    program = Program.registered(
        caller, client_type="public", grant_types=["authorization_code"], redirect_uris=[CALLBACK]
    )
    oauth_error(program.ask(grant_type="client_credentials"), "invalid_client", 401)


def test_metadata_is_valid_and_true(client: FlaskClient, app: Flask) -> None:
    answer = client.get("/.well-known/oauth-authorization-server")
    document = answer.json or {}
    # The library wants https, which the address of the tests is not.
    secure = {
        name: value.replace("http://", "https://") if isinstance(value, str) else value
        for name, value in document.items()
    }
    AuthorizationServerMetadata(secure).validate()
    assert document["issuer"] == "http://sign.test"
    paths = {rule.rule for rule in app.url_map.iter_rules()}
    for name, value in document.items():
        if name.endswith(("_endpoint", "_uri", "_documentation")):
            assert value.removeprefix("http://sign.test") in paths, name
