"""Devices without a browser, whose people answer on another one (RFC 8628)."""

from __future__ import annotations

import re
import secrets
from typing import Any

from authlib.oauth2.rfc8628.endpoint import create_string_user_code
from sqlalchemy import func

from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import NotFound
from api.oauth import grant_store as store
from api.oauth.clients import Client, digest_of
from api.oauth.consents import Consents, GrantRefused
from api.oauth.lives import DEVICE_INTERVAL_SECONDS, DEVICE_SECONDS

# RFC 8628 section 3.5.
_SLOWER_SECONDS = 5


class Devices:
    """Devices that wait."""

    def __init__(self, db: Database, consents: Consents) -> None:
        self._db = db
        self._consents = consents

    def begin(self, client: Client, scopes: frozenset[str]) -> tuple[str, str]:
        """A code for the device, and the one that it shows to its person."""
        device_code = secrets.token_urlsafe(32)
        while True:
            user_code = create_string_user_code()
            with self._db.write_directory() as session:
                if store.insert_device(
                    session,
                    DEVICE_SECONDS,
                    device_hash=digest_of(device_code),
                    user_code=user_code,
                    oauth_client_id=client.id,
                    scopes=sorted(scopes),
                    interval_seconds=DEVICE_INTERVAL_SECONDS,
                ):
                    return device_code, user_code

    def find(self, device_code: str) -> AnyRow | None:
        """What a device waits for."""
        with self._db.read_directory() as session:
            return store.get_device(session, digest_of(device_code))

    def asked_too_soon(self, device: AnyRow) -> bool:
        """Note that a device asked; whether it should have waited, and must for longer now."""
        with self._db.write_directory(noted=False) as session:
            interval = store.update_device_polled(session, device.device_hash, _SLOWER_SECONDS)
        return interval > int(device.interval_seconds)

    def waiting(self, user_code: str) -> AnyRow:
        """The device that shows a code, however people type it.

        Raises:
            NotFound: none waits that shows it.
        """
        with self._db.read_directory() as session:
            device = store.get_device_by_user_code(session, _spelled(user_code))
        if device is None:
            raise NotFound("No device waits that shows this code.")
        return device

    def approve(self, client: Client, user: AnyRow, workspace: int, device: AnyRow) -> None:
        """Let a device act for a member.

        Raises:
            NotFound: it waits no more.
            NothingGranted: they may do nothing of what it wants there.
        """
        with self._db.write_directory() as session:
            asked = set(device.scopes)
            grant = self._consents.write(session, client, user.id, workspace, asked)
            if not store.update_device_answered(session, device.user_code, grant_id=grant):
                raise NotFound("The device waits no more.")
        self._consents.tell(client, user, workspace)

    def deny(self, device: AnyRow) -> None:
        """Tell a device that it may not."""
        with self._db.write_directory() as session:
            store.update_device_answered(session, device.user_code, denied_at=func.now())

    def redeem(self, client: Client, device: AnyRow) -> dict[str, Any]:
        """Tokens for a device that was let in.

        Raises:
            GrantRefused: it has them already.
        """
        with self._db.write_directory() as session:
            grant = store.use_device(session, device.device_hash)
            if grant is None:
                raise GrantRefused
            return self._consents.answer(session, client, grant)


def _spelled(user_code: str) -> str:
    letters = re.sub(r"[^A-Z]", "", user_code[:40].upper())
    return f"{letters[:4]}-{letters[4:]}"
