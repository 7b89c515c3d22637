"""Queries on consents, and on what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import case, delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.oauth.models import OAuthClient, OAuthCode, OAuthDeviceCode, OAuthGrant, OAuthRefreshToken

_GRANT = (
    OAuthGrant.id,
    OAuthGrant.oauth_client_id,
    OAuthGrant.workspace_id,
    OAuthGrant.user_id,
    OAuthGrant.scopes,
    OAuthGrant.revoked_at,
)
_DEVICE = (
    OAuthDeviceCode.device_hash,
    OAuthDeviceCode.user_code,
    OAuthDeviceCode.scopes,
    OAuthDeviceCode.interval_seconds,
    OAuthDeviceCode.denied_at,
    OAuthDeviceCode.grant_id,
    OAuthDeviceCode.used_at,
    (OAuthDeviceCode.expires_at <= func.now()).label("expired"),
    OAuthClient.client_id,
)
# For as long is known of what has ended that it was used.
_KEPT = timedelta(days=1)


def insert_grant(session: WriteSession, **values: Any) -> int:
    """Write a consent down; its id."""
    statement = insert(OAuthGrant).values(**values).returning(OAuthGrant.id)
    return int(session.execute(statement).scalar_one())


def get_grant(session: ReadSession, identifier: int) -> AnyRow | None:
    """A consent that holds."""
    where = (OAuthGrant.id == identifier, OAuthGrant.revoked_at.is_(None))
    return session.execute(select(*_GRANT).where(*where)).one_or_none()


def update_grant_revoked(session: WriteSession, identifier: int) -> bool:
    """End a consent; whether it held until now."""
    statement = (
        update(OAuthGrant)
        .where(OAuthGrant.id == identifier, OAuthGrant.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(OAuthGrant.id)
    )
    return session.execute(statement).first() is not None


def insert_code(session: WriteSession, life_seconds: int, **values: Any) -> None:
    """Keep a code's digest."""
    expires_at = func.now() + timedelta(seconds=life_seconds)
    session.execute(insert(OAuthCode).values(expires_at=expires_at, **values))


def get_code(session: ReadSession, client: int, code_hash: bytes) -> AnyRow | None:
    """A client's code, used, expired or good."""
    statement = (
        select(
            OAuthCode.grant_id,
            OAuthCode.redirect_uri,
            OAuthCode.code_challenge,
            OAuthCode.used_at,
            (OAuthCode.expires_at <= func.now()).label("expired"),
        )
        .join(OAuthGrant, OAuthGrant.id == OAuthCode.grant_id)
        .where(OAuthCode.code_hash == code_hash, OAuthGrant.oauth_client_id == client)
    )
    return session.execute(statement).one_or_none()


def use_code(session: WriteSession, code_hash: bytes) -> int | None:
    """Use a code, once; the consent that it comes from."""
    statement = (
        update(OAuthCode)
        .where(
            OAuthCode.code_hash == code_hash,
            OAuthCode.used_at.is_(None),
            OAuthCode.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(OAuthCode.grant_id)
    )
    return session.execute(statement).scalar_one_or_none()


def insert_refresh_token(
    session: WriteSession, token_hash: bytes, grant: int, life_seconds: int
) -> None:
    """Keep a refresh token's digest."""
    expires_at = func.now() + timedelta(seconds=life_seconds)
    session.execute(
        insert(OAuthRefreshToken).values(
            token_hash=token_hash, grant_id=grant, expires_at=expires_at
        )
    )


def get_refresh_token(session: ReadSession, token_hash: bytes) -> AnyRow | None:
    """A refresh token with what it may still give, whatever its state."""
    statement = (
        select(
            OAuthRefreshToken.grant_id,
            OAuthRefreshToken.used_at,
            OAuthRefreshToken.expires_at,
            (OAuthRefreshToken.expires_at <= func.now()).label("expired"),
            OAuthGrant.workspace_id,
            OAuthGrant.user_id,
            OAuthGrant.scopes,
            OAuthGrant.revoked_at,
            OAuthClient.client_id,
        )
        .join(OAuthGrant, OAuthGrant.id == OAuthRefreshToken.grant_id)
        .join(OAuthClient, OAuthClient.id == OAuthGrant.oauth_client_id)
        .where(OAuthRefreshToken.token_hash == token_hash)
    )
    return session.execute(statement).one_or_none()


def use_refresh_token(session: WriteSession, token_hash: bytes) -> int | None:
    """Use a refresh token, once; the consent that it comes from."""
    statement = (
        update(OAuthRefreshToken)
        .where(
            OAuthRefreshToken.token_hash == token_hash,
            OAuthRefreshToken.used_at.is_(None),
            OAuthRefreshToken.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(OAuthRefreshToken.grant_id)
    )
    return session.execute(statement).scalar_one_or_none()


def insert_device(session: WriteSession, life_seconds: int, **values: Any) -> bool:
    """Keep a device's codes; False where another device has the code for people."""
    statement = (
        upsert(OAuthDeviceCode)
        .values(expires_at=func.now() + timedelta(seconds=life_seconds), **values)
        .on_conflict_do_nothing(index_elements=["user_code"])
        .returning(OAuthDeviceCode.device_hash)
    )
    return session.execute(statement).first() is not None


def get_device(session: ReadSession, device_hash: bytes) -> AnyRow | None:
    """What a device waits for."""
    return _get_device(session, OAuthDeviceCode.device_hash == device_hash)


def get_device_by_user_code(session: ReadSession, user_code: str) -> AnyRow | None:
    """The device that shows this code and still waits for an answer."""
    return _get_device(
        session,
        OAuthDeviceCode.user_code == user_code,
        OAuthDeviceCode.expires_at > func.now(),
        OAuthDeviceCode.denied_at.is_(None),
        OAuthDeviceCode.grant_id.is_(None),
    )


def _get_device(session: ReadSession, *where: Any) -> AnyRow | None:
    statement = (
        select(*_DEVICE)
        .join(OAuthClient, OAuthClient.id == OAuthDeviceCode.oauth_client_id)
        .where(*where)
    )
    return session.execute(statement).one_or_none()


def update_device_polled(session: WriteSession, device_hash: bytes, step_seconds: int) -> int:
    """Note that a device asked; its interval, which grows where it asked too soon."""
    interval = func.make_interval(0, 0, 0, 0, 0, 0, OAuthDeviceCode.interval_seconds)
    too_soon = OAuthDeviceCode.polled_at > func.clock_timestamp() - interval
    longer = OAuthDeviceCode.interval_seconds + step_seconds
    statement = (
        update(OAuthDeviceCode)
        .where(OAuthDeviceCode.device_hash == device_hash)
        .values(
            interval_seconds=case((too_soon, longer), else_=OAuthDeviceCode.interval_seconds),
            polled_at=func.clock_timestamp(),
        )
        .returning(OAuthDeviceCode.interval_seconds)
    )
    return int(session.execute(statement).scalar_one())


def update_device_answered(session: WriteSession, user_code: str, **values: Any) -> bool:
    """Write down what a person said; False where the device waits no more."""
    statement = (
        update(OAuthDeviceCode)
        .where(
            OAuthDeviceCode.user_code == user_code,
            OAuthDeviceCode.expires_at > func.now(),
            OAuthDeviceCode.denied_at.is_(None),
            OAuthDeviceCode.grant_id.is_(None),
        )
        .values(**values)
        .returning(OAuthDeviceCode.device_hash)
    )
    return session.execute(statement).first() is not None


def use_device(session: WriteSession, device_hash: bytes) -> int | None:
    """Use a device's code, once; the consent that it was given."""
    statement = (
        update(OAuthDeviceCode)
        .where(
            OAuthDeviceCode.device_hash == device_hash,
            OAuthDeviceCode.used_at.is_(None),
            OAuthDeviceCode.grant_id.is_not(None),
            OAuthDeviceCode.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(OAuthDeviceCode.grant_id)
    )
    return session.execute(statement).scalar_one_or_none()


def delete_ended(session: WriteSession) -> None:
    """Delete what has ended a day ago, and consents of which nothing is left."""
    ago = func.now() - _KEPT
    parts: Sequence[Any] = (OAuthCode, OAuthRefreshToken, OAuthDeviceCode)
    for part in parts:
        session.execute(delete(part).where(part.expires_at < ago))
    left = (exists().where(part.grant_id == OAuthGrant.id) for part in parts)
    session.execute(
        delete(OAuthGrant).where(OAuthGrant.created_at < ago, *(~each for each in left))
    )
