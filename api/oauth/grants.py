"""The grants: what a client shows, and what it gets for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from authlib.oauth2.rfc6749 import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc6749.errors import AccessDeniedError
from authlib.oauth2.rfc6749.grants import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    RefreshTokenGrant,
)
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import (
    AuthorizationPendingError,
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
    ExpiredTokenError,
    SlowDownError,
)
from authlib.oauth2.rfc9207 import IssuerParameter

from api.core.database.sessions import AnyRow
from api.oauth.clients import ANY_METHOD, DEVICE, SECRET_METHODS, Client, scope_text
from api.oauth.consents import GrantRefused
from api.oauth.issuing import NothingGranted
from api.oauth.lives import DEVICE_INTERVAL_SECONDS, DEVICE_SECONDS

TokenAnswer = tuple[int, dict[str, Any], list[tuple[str, str]]]


class ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc] # the library has no types
    """A client for itself (RFC 6749 section 4.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = SECRET_METHODS

    def create_token_response(self) -> TokenAnswer:
        client = self.request.client
        scope = client.get_allowed_scope(self.request.payload.scope)
        if scope is None:
            raise InvalidScopeError
        scopes = frozenset(scope.split())
        try:
            token = self.server.issuer.for_client(client, scopes)
        except NothingGranted:
            raise InvalidScopeError from None
        return 200, token, self.TOKEN_RESPONSE_HEADER


class GoodCode:
    """A code, as the library looks at it."""

    code_challenge_method = "S256"

    def __init__(self, row: AnyRow) -> None:
        self.grant_id: int = row.grant_id
        self.code_challenge: str = row.code_challenge
        self._redirect_uri: str = row.redirect_uri

    def get_redirect_uri(self) -> str:
        return self._redirect_uri


class AuthorizationCode(AuthorizationCodeGrant):  # type: ignore[misc]
    """A client for a person who was asked (RFC 6749 section 4.1)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY_METHOD

    def query_authorization_code(self, code: str, client: Client) -> GoodCode | None:
        row = self.server.consents.find_code(client, code)
        return None if row is None else GoodCode(row)

    def create_token_response(self) -> TokenAnswer:
        request = self.request
        return _given(
            self,
            lambda: self.server.consents.redeem_code(
                request.client, request.form["code"], request.authorization_code.grant_id
            ),
        )

    def generate_authorization_code(self) -> str:
        """The code for the consent that `request.user` just gave: a user and a workspace."""
        request = self.request
        user, workspace = request.user
        try:
            code: str = self.server.consents.give_code(
                request.client,
                user,
                workspace,
                scopes=set(request.scope.split()),
                # Compared with what the client says again, if it said any.
                redirect_uri=request.payload.redirect_uri or "",
                code_challenge=request.payload.data["code_challenge"],
            )
        except NothingGranted:
            raise AccessDeniedError(redirect_uri=self.redirect_uri) from None
        return code

    def save_authorization_code(self, code: str, request: Any) -> None:
        """It was kept when it was made."""


class S256(CodeChallenge):  # type: ignore[misc]
    """RFC 7636 with S256 alone, asked of every client (RFC 9700 section 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: Any) -> None:
        data = grant.request.payload.data
        if data.get("code_challenge_method") != "S256" or len(data.get("code_challenge", "")) != 43:
            raise InvalidRequestError("A code_challenge of the method S256 is required.")
        super().validate_code_challenge(grant, redirect_uri)


class Issuer(IssuerParameter):  # type: ignore[misc]
    """`iss` beside each code and each error, so that a client of several servers is not taken in
    (RFC 9207)."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer


class GoodRefreshToken:
    """A refresh token, as the library looks at it."""

    def __init__(self, row: AnyRow) -> None:
        self.grant_id: int = row.grant_id
        self._scope = scope_text(row.scopes)

    def check_client(self, client: Client) -> bool:
        """It was looked for among this client's own."""
        del client
        return True

    def get_scope(self) -> str:
        return self._scope


class RefreshToken(RefreshTokenGrant):  # type: ignore[misc]
    """A client again (RFC 6749 section 6); each refresh token gives the next."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY_METHOD
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> GoodRefreshToken | None:
        row = self.server.consents.find_refresh_token(self.request.client, refresh_token)
        return None if row is None else GoodRefreshToken(row)

    def create_token_response(self) -> TokenAnswer:
        request = self.request
        scope = request.payload.scope or request.refresh_token.get_scope()
        return _given(
            self,
            lambda: self.server.consents.refresh(
                request.client,
                request.form["refresh_token"],
                request.refresh_token.grant_id,
                frozenset(scope.split()),
            ),
        )


class DeviceAuthorization(DeviceAuthorizationEndpoint):  # type: ignore[misc]
    """A device begins (RFC 8628 section 3.1)."""

    CLIENT_AUTH_METHODS = ANY_METHOD
    EXPIRES_IN = DEVICE_SECONDS
    INTERVAL = DEVICE_INTERVAL_SECONDS

    def create_endpoint_response(self, request: Any) -> TokenAnswer:
        client = self.authenticate_client(request)
        if not client.check_grant_type(DEVICE):
            raise UnauthorizedClientError
        scope = client.get_allowed_scope(request.payload.scope)
        if scope is None:
            raise InvalidScopeError
        device_code, user_code = self.server.devices.begin(client, frozenset(scope.split()))
        page = f"{self.server.issuer_name}/oauth/device"
        body = {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={user_code}",
            "expires_in": self.EXPIRES_IN,
            "interval": self.INTERVAL,
        }
        return 200, body, []


class WaitingDevice:
    """A device, as the library looks at it."""

    def __init__(self, row: AnyRow) -> None:
        self.row = row

    def get_client_id(self) -> str:
        return str(self.row.client_id)


class DeviceCode(DeviceCodeGrant):  # type: ignore[misc]
    """A device asks whether its person has answered (RFC 8628 section 3.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY_METHOD

    def query_device_credential(self, device_code: str) -> WaitingDevice:
        row = self.server.devices.find(device_code)
        if row is None:
            raise InvalidGrantError
        return WaitingDevice(row)

    def validate_device_credential(self, credential: WaitingDevice) -> None:
        device = credential.row
        if device.expired:
            raise ExpiredTokenError
        if device.denied_at is not None:
            raise AccessDeniedError
        if device.grant_id is None:
            too_soon = self.server.devices.asked_too_soon(device)
            raise SlowDownError if too_soon else AuthorizationPendingError

    def create_token_response(self) -> TokenAnswer:
        request = self.request
        return _given(
            self, lambda: self.server.devices.redeem(request.client, request.credential.row)
        )


def _given(grant: Any, give: Callable[[], dict[str, Any]]) -> TokenAnswer:
    """What a person's consent gives; nothing where nothing is left of it."""
    try:
        return 200, give(), grant.TOKEN_RESPONSE_HEADER
    except (GrantRefused, NothingGranted):
        raise InvalidGrantError from None
