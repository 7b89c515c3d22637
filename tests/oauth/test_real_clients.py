"""Other people's clients against a running server: Authlib's session and requests-oauthlib."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient, WebApplicationClient
from requests_oauthlib import OAuth2Session as RequestsSession

from tests.caller import PASSWORD
from tests.oauth.people import Form
from tests.running import RunningSignpost, running

CALLBACK = "https://app.example.com/callback"
EMAIL = "ann@example.com"


@dataclass(frozen=True)
class Server:
    """A running Signpost with one more member."""

    signpost: RunningSignpost
    base: str

    def client(self, **fields: Any) -> dict[str, Any]:
        body = {"name": "Program", "scopes": ["links:read", "links:write"]} | fields
        return dict(self.signpost.call("POST", "/api/v1/oauth-clients", body))

    def approve(self, address: str) -> str:
        """What a person with a browser does: sign in where asked, and approve; where they are
        sent."""
        browser = requests.Session()
        page = browser.get(address)
        form = Form(page.text)
        page = browser.post(
            self.base + form.action, form.fields | {"email": EMAIL, "password": PASSWORD}
        )
        assert "asks for access" in page.text
        form = Form(page.text)
        answer = browser.post(
            self.base + form.action, form.fields | {"answer": "approve"}, allow_redirects=False
        )
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def links(self, session: Any) -> None:
        """Create a link and find it, with a client's own session."""
        url = f"{self.base}/api/v1/links"
        made = session.post(url, json={"url": "https://example.com/"})
        assert made.status_code == 201, made.text
        found = session.get(url)
        assert made.json()["id"] in {link["id"] for link in found.json()["data"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The product as `scripts/start` runs it."""
    with running(tmp_path_factory.mktemp("oauth") / "home") as signpost:
        invited = {"email": EMAIL, "role": "editor"}
        token = signpost.call("POST", "/api/v1/invitations", invited)["token"]
        accepted = {"token": token, "name": "Ann", "password": PASSWORD}
        signpost.call("POST", "/api/v1/invitations/accept", accepted)
        yield Server(signpost, f"http://127.0.0.1:{signpost.port}")


@pytest.fixture
def metadata(server: Server) -> dict[str, Any]:
    """What the server says of itself: clients are told nothing else."""
    return dict(requests.get(f"{server.base}/.well-known/oauth-authorization-server").json())


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    # oauthlib wants https of loopback, too.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_gets_client_credentials(
    method: str, server: Server, metadata: dict[str, Any]
) -> None:
    made = server.client(grant_types=["client_credentials"])
    with AuthlibSession(
        made["client_id"], made["client_secret"], token_endpoint_auth_method=method
    ) as session:
        session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        server.links(session)


def test_authlib_gets_a_code_with_pkce_refreshes_and_revokes(
    server: Server, metadata: dict[str, Any]
) -> None:
    made = server.client(
        client_type="public",
        grant_types=["authorization_code", "refresh_token"],
        redirect_uris=[CALLBACK],
    )
    verifier = secrets.token_urlsafe(48)
    with AuthlibSession(
        made["client_id"],
        token_endpoint_auth_method="none",
        revocation_endpoint_auth_method="none",
        redirect_uri=CALLBACK,
        scope="links:read links:write",
        code_challenge_method="S256",
        token_endpoint=metadata["token_endpoint"],
    ) as session:
        address, state = session.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier
        )
        back = server.approve(address)
        assert parse_qs(urlsplit(back).query)["iss"] == [metadata["issuer"]]
        first = dict(
            session.fetch_token(
                metadata["token_endpoint"],
                authorization_response=back,
                state=state,
                code_verifier=verifier,
            )
        )
        server.links(session)
        second = session.refresh_token(metadata["token_endpoint"])
        assert second["refresh_token"] != first["refresh_token"]
        server.links(session)
        revoked = session.revoke_token(
            metadata["revocation_endpoint"],
            token=second["refresh_token"],
            token_type_hint="refresh_token",
        )
        assert revoked.status_code == 200


def test_requests_oauthlib_gets_client_credentials(
    server: Server, metadata: dict[str, Any]
) -> None:
    made = server.client(grant_types=["client_credentials"])
    client = BackendApplicationClient(made["client_id"])
    with RequestsSession(client=client) as session:
        session.fetch_token(
            metadata["token_endpoint"],
            client_id=made["client_id"],
            client_secret=made["client_secret"],
        )
        server.links(session)


def test_requests_oauthlib_gets_a_code_with_pkce_and_refreshes(
    server: Server, metadata: dict[str, Any]
) -> None:
    made = server.client(
        grant_types=["authorization_code", "refresh_token"], redirect_uris=[CALLBACK]
    )
    scope = ["links:read", "links:write"]
    client = WebApplicationClient(made["client_id"])
    with RequestsSession(client=client, redirect_uri=CALLBACK, scope=scope, pkce="S256") as session:
        address, _ = session.authorization_url(metadata["authorization_endpoint"])
        back = server.approve(address)
        first = dict(
            session.fetch_token(
                metadata["token_endpoint"],
                authorization_response=back,
                client_secret=made["client_secret"],
                include_client_id=True,
            )
        )
        server.links(session)
        second = session.refresh_token(
            metadata["token_endpoint"],
            refresh_token=first["refresh_token"],
            auth=(made["client_id"], made["client_secret"]),
        )
        assert second["refresh_token"] != first["refresh_token"]
        server.links(session)


def test_both_workers_refuse_what_is_revoked_within_five_seconds(
    server: Server, metadata: dict[str, Any]
) -> None:
    import time

    made = server.client(grant_types=["client_credentials"])
    credentials = (made["client_id"], made["client_secret"])
    form = {"grant_type": "client_credentials"}
    token = requests.post(metadata["token_endpoint"], form, auth=credentials).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    requests.post(
        metadata["revocation_endpoint"], {"token": token["access_token"]}, auth=credentials
    )
    revoked = time.monotonic()
    refused = 0
    while refused < 20:
        # A connection of its own each, so that either worker may answer.
        answer = requests.get(f"{server.base}/api/v1/links", headers=headers)
        refused = refused + 1 if answer.status_code == 401 else 0
        assert time.monotonic() - revoked < 5 or refused
