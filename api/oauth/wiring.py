"""Puts the parts of this module together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.identity.members import MemberService
from api.identity.users import UserService
from api.oauth import grant_store
from api.oauth.consents import Consents
from api.oauth.devices import Devices
from api.oauth.given import GivenTokens
from api.oauth.grants import (
    S256,
    AuthorizationCode,
    ClientCredentials,
    DeviceAuthorization,
    DeviceCode,
    Issuer,
    RefreshToken,
)
from api.oauth.inspection import Introspection, Revocation
from api.oauth.issuing import TokenIssuer
from api.oauth.keyfile import Keys
from api.oauth.outside import OutsideTokens
from api.oauth.outsiders import OutsideVerifier
from api.oauth.protocol import ProtocolServer
from api.oauth.revocations import Revocations
from api.oauth.service import OAuthClients
from api.oauth.sessions import Sessions
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
    devices: Devices
    sessions: Sessions
    outside: OutsideVerifier | None

    def services(self) -> Iterator[object]:
        """What routes look for."""
        found = (getattr(self, field.name) for field in fields(self))
        return (each for each in found if each is not None)


def make_oauth(
    settings: Settings,
    db: Database,
    evictions: Evictions,
    *,
    users: UserService,
    members: MemberService,
    audit: AuditLog,
) -> OAuth:
    """The services of this module.

    Raises:
        SettingsError: `JWT_PRIVATE_KEY` cannot be used.
    """
    secret = settings.resolved_secret_key()
    keys = Keys(settings)
    tokens = Tokens(keys, settings.public_url)
    revocations = Revocations(db, evictions)
    revocations.on_tidy.append(grant_store.delete_ended)
    verifier = TokenVerifier(tokens, revocations)
    clients = OAuthClients(db, secret, revocations)
    issuer = TokenIssuer(db, tokens)
    consents = Consents(db, issuer, revocations, members, audit)
    devices = Devices(db, consents)
    given = GivenTokens(db, tokens, verifier, revocations, consents)
    server = ProtocolServer(settings.public_url, clients, issuer, consents, devices, given)
    server.register_extension(Issuer(settings.public_url))
    server.register_grant(ClientCredentials)
    server.register_grant(AuthorizationCode, [S256(required=True)])
    server.register_grant(RefreshToken)
    server.register_grant(DeviceCode)
    for endpoint in (DeviceAuthorization, Revocation, Introspection):
        server.register_endpoint(endpoint)
    sessions = Sessions(db, secret, users, revocations)
    outside = None
    if settings.oidc_issuer and settings.oidc_audience:
        believed = OutsideTokens(settings.oidc_issuer, settings.oidc_audience)
        outside = OutsideVerifier(db, believed, users, members, evictions)
    return OAuth(keys, tokens, revocations, verifier, clients, server, devices, sessions, outside)
