"""A client as the protocol sees it: what it may ask for, and how it says who it is."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE

from api.core.database.sessions import AnyRow
from api.core.principal import SCOPES

CODE, CREDENTIALS, REFRESH = "authorization_code", "client_credentials", "refresh_token"
DEVICE: str = DEVICE_CODE_GRANT_TYPE
GRANT_TYPES = (CODE, CREDENTIALS, REFRESH, DEVICE)
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
ANY_METHOD = (*SECRET_METHODS, "none")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret just made: the text that is shown once, and what is kept of it."""

    text: str
    digest: bytes


def make_secret() -> NewSecret:
    """A secret with 256 random bits."""
    text = "sp_secret_" + secrets.token_urlsafe(32)
    return NewSecret(text, digest_of(text))


def make_client_id() -> str:
    """A name that nobody else has, and that is never a user's (RFC 9068 section 5)."""
    return "sp_client_" + secrets.token_urlsafe(16)


def digest_of(text: str) -> bytes:
    """What is stored of a secret, a code or a refresh token."""
    return hashlib.sha256(text.encode()).digest()


def wrong_redirect_uri(uri: str) -> str | None:
    """What is wrong with the address that a client wants people sent back to (RFC 9700 section
    2.1, RFC 8252 section 7); None where nothing is."""
    if not uri.isascii() or not uri.isprintable() or any(sign in uri for sign in ' "\\<>'):
        return "Only the characters of a URI: percent-encode the others."
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "Not an absolute URI."
    wrong = {
        "Must have no fragment.": "#" in uri,
        "Must name no user.": parts.username is not None,
        "Must be https, http of the loopback interface, or the reversed domain of an app.": not (
            (parts.scheme == "https" and host)
            or (parts.scheme == "http" and host in _LOOPBACK)
            or ("." in parts.scheme and not parts.netloc)
        ),
    }
    return next((text for text, is_so in wrong.items() if is_so), None)


class Client(ClientMixin):  # type: ignore[misc] # the library has no types
    """What the protocol asks of a client, answered from its row."""

    def __init__(self, row: AnyRow) -> None:
        self.id: int = row.id
        self.client_id: str = row.client_id
        self.workspace_id: int = row.workspace_id
        self.name: str = row.name
        self.scopes = frozenset(row.scopes)
        self._secret_hash: bytes | None = row.secret_hash
        self._redirect_uris: list[str] = row.redirect_uris
        self._grant_types: list[str] = row.grant_types

    @property
    def is_confidential(self) -> bool:
        """Whether it has a secret (RFC 6749 section 2.1)."""
        return self._secret_hash is not None

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """Where people go back to that a request names no address for."""
        return self._redirect_uris[0] if len(self._redirect_uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """The scopes that are asked for, all where none are; None where one is not allowed."""
        asked = frozenset((scope or "").split()) or self.scopes
        return scope_text(asked) if asked <= self.scopes else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Character by character (RFC 9700 section 2.1)."""
        return redirect_uri in self._redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """In a time that tells nothing."""
        mine = self._secret_hash
        return mine is not None and hmac.compare_digest(mine, digest_of(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Whoever has a secret shows it, in the one way or the other."""
        del endpoint
        return method in SECRET_METHODS if self.is_confidential else method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and CODE in self._grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self._grant_types


def scope_text(scopes: Iterable[str]) -> str:
    """Scopes as the protocol writes them (RFC 6749 section 3.3)."""
    return " ".join(sorted(scopes))


def client_values(secret: NewSecret | None, **given: Any) -> dict[str, Any]:
    """The columns of a new client."""
    made = {"client_id": make_client_id(), "secret_hash": secret.digest if secret else None}
    return normalised(given) | made


def normalised(values: dict[str, Any]) -> dict[str, Any]:
    """The same, each scope and each grant once and in one order."""
    orders: dict[str, Iterable[str]] = {"scopes": sorted(SCOPES), "grant_types": GRANT_TYPES}
    return values | {
        name: [each for each in order if each in values[name]]
        for name, order in orders.items()
        if name in values
    }
