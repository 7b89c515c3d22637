"""Puts the parts of this module together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.oauth.given import GivenTokens
from api.oauth.grants import ClientCredentials, Introspection, Revocation
from api.oauth.issuing import TokenIssuer
from api.oauth.keyfile import Keys
from api.oauth.protocol import ProtocolServer
from api.oauth.revocations import Revocations
from api.oauth.service import OAuthClients
from api.oauth.tokens import Tokens
from api.oauth.verifier import TokenVerifier
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class OAuth:
    """The services of this module."""

    keys: Keys
    tokens: Tokens
    revocations: Revocations
    verifier: TokenVerifier
    clients: OAuthClients
    server: ProtocolServer

    def services(self) -> Iterator[object]:
        """What routes look for."""
        yield from (self.keys, self.tokens, self.revocations, self.verifier, self.clients)
        yield self.server


def make_oauth(settings: Settings, db: Database, evictions: Evictions) -> OAuth:
    """The services of this module.

    Raises:
        SettingsError: `JWT_PRIVATE_KEY` cannot be used.
    """
    keys = Keys(settings)
    tokens = Tokens(keys, settings.public_url)
    revocations = Revocations(db, evictions)
    clients = OAuthClients(db, settings.resolved_secret_key(), revocations)
    verifier = TokenVerifier(tokens, revocations)
    given = GivenTokens(db, tokens, verifier, revocations)
    server = ProtocolServer(clients, TokenIssuer(db, tokens), given)
    server.register_grant(ClientCredentials)
    server.register_endpoint(Revocation)
    server.register_endpoint(Introspection)
    return OAuth(keys, tokens, revocations, verifier, clients, server)
