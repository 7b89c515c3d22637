"""The protocol's requests and answers, and the server that judges them; it knows no web framework.

Authlib reads and judges what clients ask (RFC 6749, 7009, 7636, 7662, 8628, 9207); what is given
out, and what is written down about it, is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    InvalidRequestError,
    OAuth2Error,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.errors import InvalidClientError
from authlib.oauth2.rfc6749.util import extract_basic_authorization

from api.core.database.sessions import AnyRow
from api.core.principal import SCOPES
from api.oauth.clients import Client
from api.oauth.consents import Consents
from api.oauth.devices import Devices
from api.oauth.given import GivenTokens
from api.oauth.issuing import TokenIssuer
from api.oauth.service import OAuthClients

# RFC 6749 appendix A: what every parameter consists of.
_VISIBLE = re.compile(r"[\x20-\x7e]{0,4000}")
# Of these the library tells what it was given, which must not hold what an error text may not.
_TOLD = frozenset({"redirect_uri", "response_type", "grant_type"})
_UNTELLABLE = re.compile(r'["\\]')


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its parameters are those of the query or those of the form, never both."""

    method: str
    path: str
    headers: Mapping[str, str]
    parameters: Sequence[tuple[str, str]]


@dataclass(slots=True)
class Answer:
    """What is answered: a JSON object, or the address that the browser goes to."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str | None:
        """Where the browser is sent to."""
        return self.headers.get("Location")

    @location.setter
    def location(self, address: str) -> None:
        self.headers["Location"] = address


class Consent:
    """What a person is asked: whether a client may do something for them."""

    def __init__(self, grant: Any) -> None:
        self.grant = grant
        self.client: Client = grant.request.client
        self.redirect_uri: str = grant.redirect_uri
        self.scopes = frozenset(str(grant.request.scope).split())


class _Payload(OAuth2Payload):  # type: ignore[misc] # the library has no types
    def __init__(self, parameters: Sequence[tuple[str, str]]) -> None:
        self._data = dict(parameters)

    @property
    def data(self) -> dict[str, str]:
        return self._data

    @property
    def datalist(self) -> dict[str, list[str]]:
        return {name: [value] for name, value in self._data.items()}


class Request(OAuth2Request):  # type: ignore[misc]
    """A request as the library reads it.

    Raises:
        OAuth2Error: it is not well-formed.
    """

    def __init__(self, asked: Asked) -> None:
        # Whether plain http is let in is decided for the whole service, before it comes to us.
        super().__init__(asked.method, f"https://localhost{asked.path}", headers=asked.headers)
        _check_form(asked)
        self.payload = _Payload(asked.parameters)

    @property
    def form(self) -> dict[str, str]:
        return dict(self.payload.data)

    @property
    def args(self) -> dict[str, str]:
        return dict(self.payload.data)


def _check_form(asked: Asked) -> None:
    seen = set()
    for name, value in asked.parameters:
        if name in seen:  # RFC 6749 section 3.1 and 3.2
            raise InvalidRequestError("A parameter is given more than once.")
        seen.add(name)
        if not _VISIBLE.fullmatch(name) or not _VISIBLE.fullmatch(value):
            raise InvalidRequestError("A parameter is too long or holds a forbidden character.")
        if name in _TOLD and _UNTELLABLE.search(value):
            raise InvalidRequestError("A parameter holds a forbidden character.")
    try:
        credentials = extract_basic_authorization(asked.headers)
    except ValueError:
        raise InvalidClientError(status_code=401) from None
    if not all(_VISIBLE.fullmatch(part or "") for part in credentials):
        raise InvalidClientError(status_code=401)


class ProtocolServer(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server over our clients."""

    def __init__(
        self,
        issuer_name: str,
        clients: OAuthClients,
        issuer: TokenIssuer,
        consents: Consents,
        devices: Devices,
        given: GivenTokens,
    ) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.issuer_name = issuer_name
        self._clients = clients
        # What the grants and the endpoints, which the library makes, find here.
        self.issuer = issuer
        self.consents = consents
        self.devices = devices
        self.given = given

    def query_client(self, client_id: str) -> Client | None:
        """The client of that name."""
        return self._clients.named(client_id)

    def create_oauth2_request(self, request: Asked | Request) -> Request:
        return request if isinstance(request, Request) else Request(request)

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
        answer = Answer(status, dict(body or {}), dict(headers))
        if status == 401:
            # The library's names no realm, without which it is no challenge (RFC 7617 section 2).
            answer.headers["WWW-Authenticate"] = 'Basic realm="signpost"'
        return answer

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def answer_token(self, asked: Asked) -> Answer:
        """The token endpoint (RFC 6749 section 3.2)."""
        return self._answer(asked, self.create_token_response)

    def answer_endpoint(self, name: str, asked: Asked) -> Answer:
        """One of the endpoints that are registered by name."""
        return self._answer(asked, lambda request: self.create_endpoint_response(name, request))

    def consent_asked(self, asked: Asked) -> Consent | Answer:
        """What a person is asked by an authorization request, or the answer that needs no person
        (RFC 6749 section 4.1.1).

        Raises:
            OAuth2Error: it is so wrong that the client cannot be told.
        """
        try:
            grant = self.get_consent_grant(Request(asked))
        except OAuth2Error as error:
            if not error.redirect_uri:
                raise
            answer: Answer = self.handle_error_response(None, error)
            self.execute_hook("after_create_authorization_response", answer)
            return answer
        return Consent(grant)

    def answer_consent(self, consent: Consent, user: AnyRow | None, workspace: int) -> Answer:
        """Send the browser back with a code, or without a user with the refusal."""
        given_by = None if user is None else (user, workspace)
        answer: Answer = self.create_authorization_response(
            consent.grant.request, grant_user=given_by, grant=consent.grant
        )
        return answer

    def _answer(self, asked: Asked, answer: Any) -> Answer:
        try:
            made: Answer = answer(Request(asked))
        except OAuth2Error as error:
            made = self.handle_error_response(None, error)
        return made
