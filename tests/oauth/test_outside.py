"""Tokens of an issuer outside: whom they are believed to be, and all that is not believed."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import ECKey, OKPKey, RSAKey

from api.app import create_app
from api.core.registry import service
from api.identity.members import MemberService
from api.identity.users import UserService
from api.oauth.outsiders import OutsideVerifier
from config.settings import Settings, SettingsError
from tests.answers import problem
from tests.caller import Caller
from tests.oauth.issuers import AUDIENCE, Issuer, encoded, running_issuer


@dataclass
class Outside:
    """An application that believes an issuer, and that issuer."""

    app: Flask
    issuer: Issuer

    def links(self, token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return self.app.test_client().get("/api/v1/links", headers=headers)


@pytest.fixture
def outside(environ: dict[str, str], tmp_path: Path) -> Iterator[Outside]:
    """Both, new for this test."""
    with running_issuer() as issuer:
        given = {"OIDC_ISSUER": issuer.address, "OIDC_AUDIENCE": AUDIENCE}
        app = create_app(Settings.load(environ | given | {"SIGNPOST_HOME": str(tmp_path)}))
        app.extensions["signpost"].start_worker()
        yield Outside(app, issuer)
        app.extensions["signpost"].stop_worker()


@pytest.fixture
def ann(caller: Caller) -> dict[str, Any]:
    """What the issuer says of an editor of the caller's workspace."""
    email = f"ann-{uuid.uuid4().hex[:12]}@example.com"
    member = caller.with_role("editor", email)
    return {"sub": f"ann-{member.user_id}", "email": email, "email_verified": True}


def assert_refused(answer: Any) -> None:
    problem(answer, 401, "unauthenticated")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_verified_address_finds_the_user(
    outside: Outside, ann: dict[str, Any], caller: Caller
) -> None:
    link = caller.create_link()
    answer = outside.links(outside.issuer.token(**ann))
    assert answer.status_code == 200, answer.text
    assert [each["id"] for each in (answer.json or {})["data"]] == [link["id"]]


def test_subject_stays_the_user_whose_address_changes(
    outside: Outside, ann: dict[str, Any]
) -> None:
    assert outside.links(outside.issuer.token(**ann)).status_code == 200
    for later in ({"email": "new@example.com"}, {"email": None, "email_verified": None}):
        assert outside.links(outside.issuer.token(**ann | later)).status_code == 200


def test_address_that_was_given_to_somebody_else_is_not_the_user(
    outside: Outside, ann: dict[str, Any]
) -> None:
    assert outside.links(outside.issuer.token(**ann)).status_code == 200
    assert_refused(outside.links(outside.issuer.token(**ann | {"sub": "successor"})))


@pytest.mark.parametrize("verified", [False, None, "true", 1, "yes", []])
def test_unverified_address_is_nobodys(
    verified: Any, outside: Outside, ann: dict[str, Any]
) -> None:
    assert_refused(outside.links(outside.issuer.token(**ann | {"email_verified": verified})))


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "stranger@example.com"},
        {"email": ["ann@example.com"]},
        {"email": ""},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"nbf": 9_999_999_999},
        {"iat": 9_999_999_999},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "x" * 256},
        {"sub": "a\x00b"},
    ],
    ids=repr,
)
def test_wrong_claims_are_refused(
    claims: dict[str, Any], outside: Outside, ann: dict[str, Any]
) -> None:
    assert_refused(outside.links(outside.issuer.token(**ann | claims)))


def test_audience_may_be_one_of_several(outside: Outside, ann: dict[str, Any]) -> None:
    token = outside.issuer.token(**ann, aud=["other", AUDIENCE])
    assert outside.links(token).status_code == 200


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (RSAKey.generate_key(2048), "RS256"),
        (RSAKey.generate_key(2048), "PS256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
    ],
    ids=["RS256", "PS256", "ES384", "Ed25519"],
)
def test_usual_algorithms_are_believed(
    key: Any, alg: str, outside: Outside, ann: dict[str, Any]
) -> None:
    outside.issuer.add_key("another", key)
    token = outside.issuer.token("another", alg, **ann)
    assert outside.links(token).status_code == 200


def test_confused_and_missing_algorithms_are_refused(outside: Outside, ann: dict[str, Any]) -> None:
    _, claims, signature = outside.issuer.token(**ann).split(".")
    public = json.dumps(outside.issuer.documents["/keys"]["keys"][0]).encode()
    for algorithm in ("HS256", "none", "None", "RS256"):
        header = encoded({"alg": algorithm, "kid": "ec"})
        text = f"{header}.{claims}"
        digest = encoded(hmac.digest(public, text.encode(), hashlib.sha256))
        for signed in (f"{text}.{digest}", f"{text}.", f"{text}.{signature}"):
            assert_refused(outside.links(signed))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "logout+jwt"},
        {"typ": ""},
        {"crit": ["exp"]},
        {"jku": "https://evil.example/keys"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "https://evil.example/key"},
        {"kid": "unknown"},
        {"kid": "../../etc/passwd"},
        {"kid": 5},
    ],
    ids=repr,
)
def test_headers_that_lead_elsewhere_are_refused(
    header: dict[str, Any], outside: Outside, ann: dict[str, Any]
) -> None:
    token = outside.issuer.token(**ann)
    _, claims, signature = token.split(".")
    spoiled = encoded({"alg": "ES256", "kid": "ec"} | header)
    assert_refused(outside.links(f"{spoiled}.{claims}.{signature}"))
    assert_refused(outside.links(outside.issuer.token(header=header, **ann)))


def test_nobody_else_signs_for_the_issuer(outside: Outside, ann: dict[str, Any]) -> None:
    with running_issuer() as stranger:
        token = stranger.token(**ann, iss=outside.issuer.address)
        assert_refused(outside.links(token))
        assert_refused(outside.links(stranger.token(**ann)))


def test_our_own_tokens_are_not_the_issuers(outside: Outside, ann: dict[str, Any]) -> None:
    claims = ann | {"iss": "http://sign.test", "aud": "http://sign.test/api/v1"}
    assert_refused(outside.links(outside.issuer.token(**claims, header={"typ": "at+jwt"})))


def test_new_keys_are_fetched_at_a_bounded_rate(outside: Outside, ann: dict[str, Any]) -> None:
    assert outside.links(outside.issuer.token(**ann)).status_code == 200
    assert len(outside.issuer.asked) == 2
    outside.issuer.add_key("new", ECKey.generate_key("P-256"))
    for _ in range(20):
        assert_refused(outside.links(outside.issuer.token("new", **ann)))
    assert len(outside.issuer.asked) == 2
    with outside.app.app_context():
        keys = service(OutsideVerifier).tokens._keys
    keys._tried -= 20
    assert outside.links(outside.issuer.token("new", **ann)).status_code == 200
    assert len(outside.issuer.asked) == 4


def test_keys_that_are_known_go_on_without_the_issuer(
    outside: Outside, ann: dict[str, Any]
) -> None:
    outside.issuer.broken = True
    answer = outside.links(outside.issuer.token(**ann))
    problem(answer, 503, "unavailable")
    assert len(outside.issuer.asked) == 1
    with outside.app.app_context():
        keys = service(OutsideVerifier).tokens._keys
    outside.issuer.broken = False
    keys._tried -= 20
    assert outside.links(outside.issuer.token(**ann)).status_code == 200
    outside.issuer.broken = True
    keys._tried -= 20
    keys._fetched -= 4_000
    token = outside.issuer.token(**ann, jti="another")
    assert outside.links(token).status_code == 200


@pytest.mark.parametrize(
    "spoil",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://keys.example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 5},
    ],
    ids=repr,
)
def test_metadata_that_is_not_the_issuers_is_not_believed(
    spoil: dict[str, Any], outside: Outside, ann: dict[str, Any]
) -> None:
    outside.issuer.documents["/.well-known/openid-configuration"] |= spoil
    problem(outside.links(outside.issuer.token(**ann)), 503, "unavailable")


def test_issuer_that_sends_on_or_talks_without_end_is_not_followed(
    outside: Outside, ann: dict[str, Any]
) -> None:
    outside.issuer.documents["/keys2"] = outside.issuer.documents["/keys"]
    for document in ("/keys2", {"keys": [], "padding": "x" * 600_000}, [], {"keys": []}):
        outside.issuer.documents["/keys"] = document
        problem(outside.links(outside.issuer.token(**ann)), 503, "unavailable")
        with outside.app.app_context():
            service(OutsideVerifier).tokens._keys._tried -= 20
    assert "/keys2" not in outside.issuer.asked


def test_role_and_scopes_of_the_token_bound_what_it_gives(
    outside: Outside, ann: dict[str, Any]
) -> None:
    with outside.app.app_context():
        verifier = service(OutsideVerifier)
    everything = verifier.authenticate(outside.issuer.token(**ann)).scopes
    assert everything == {"links:read", "links:write", "stats:read", "transfers"}
    for scope in ("openid links:read workspace:admin", ["links:read"]):
        narrow = verifier.authenticate(outside.issuer.token(**ann, scope=scope))
        assert narrow.scopes == {"links:read"}
    other = verifier.authenticate(outside.issuer.token(**ann, scope="openid profile"))
    assert other.scopes == everything


def test_member_of_several_workspaces_names_one(
    outside: Outside, ann: dict[str, Any], caller: Caller, other_caller: Caller
) -> None:
    services = outside.app.extensions["signpost.services"]
    user = services[UserService].get_user_by_email(ann["email"])
    services[MemberService].add_member(other_caller.workspace_id, user.id, "viewer")
    assert_refused(outside.links(outside.issuer.token(**ann)))
    verifier = services[OutsideVerifier]
    for chosen in (caller, other_caller):
        token = outside.issuer.token(**ann, signpost_workspace=str(chosen.workspace_id))
        assert verifier.authenticate(token).workspace_id == chosen.workspace_id
    assert_refused(outside.links(outside.issuer.token(**ann, signpost_workspace="1")))


def test_who_is_disabled_or_no_member_is_refused_within_seconds(
    outside: Outside, ann: dict[str, Any], caller: Caller
) -> None:
    services = outside.app.extensions["signpost.services"]
    user = services[UserService].get_user_by_email(ann["email"])
    token = outside.issuer.token(**ann)
    assert outside.links(token).status_code == 200
    services[UserService].disable_user(user.id)
    assert_refused(outside.links(token))
    services[UserService].enable_user(user.id)
    assert outside.links(token).status_code == 200
    caller.delete(f"/members/{user.id}")  # in another process
    changed = time.monotonic()
    while outside.links(token).status_code == 200:
        assert time.monotonic() - changed < 5
        time.sleep(0.05)
    assert_refused(outside.links(token))


def test_token_ends_while_it_is_remembered(outside: Outside, ann: dict[str, Any]) -> None:
    now = int(time.time())
    token = outside.issuer.token(**ann, iat=now - 300, exp=now - 28)
    assert outside.links(token).status_code == 200
    time.sleep(2.5)
    assert_refused(outside.links(token))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"OIDC_ISSUER": "https://accounts.example.com"}, "OIDC_AUDIENCE"),
        ({"OIDC_ISSUER": "http://accounts.example.com", "OIDC_AUDIENCE": "x"}, "OIDC_ISSUER"),
        ({"OIDC_ISSUER": "accounts.example.com", "OIDC_AUDIENCE": "x"}, "OIDC_ISSUER"),
        ({"OIDC_ISSUER": "https://a@accounts.example.com", "OIDC_AUDIENCE": "x"}, "OIDC_ISSUER"),
    ],
)
def test_wrong_settings_stop_the_start(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.load(given)


def test_invited_user_is_nobodys_until_an_operator_vouches(
    outside: Outside, caller: Caller
) -> None:
    """Who invites has the token, and may be the user before the person comes."""
    email = f"victim-{uuid.uuid4().hex[:12]}@example.com"
    invitation = caller.post("/invitations", {"email": email, "role": "editor"}).json or {}
    accepted = outside.app.test_client().post(
        "/api/v1/invitations/accept",
        json={"token": invitation["token"], "name": "Victim", "password": "the inviter knows it"},
    )
    assert accepted.status_code == 200
    facts = {"sub": f"victim-{email}", "email": email, "email_verified": True}
    assert_refused(outside.links(outside.issuer.token(**facts)))

    with outside.app.app_context():
        users = service(UserService)
    users.vouch_for_user(users.get_user_by_email(email).id)
    assert outside.links(outside.issuer.token(**facts)).status_code == 200
