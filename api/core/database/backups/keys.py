"""The keys of an installation, sealed with a passphrase: without them the databases are half of it.

Scrypt makes a key of the passphrase (RFC 7914), AES-256-GCM seals with it: who has the backup and
not the passphrase can neither read nor change them.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from api.core.database.backups.errors import BackupError
from config.private_files import write_whole
from config.settings import Settings

_FORM = b"signpost keys 1\n"
_SALT_BYTES, _NONCE_BYTES = 16, 12
# A guess takes about half a second and 128 MB.
_COST = 2**17


def known_secret(settings: Settings) -> bytes | None:
    """The secret key, unless it would only be made now."""
    kept = settings.signpost_home / "secret.key"
    return settings.resolved_secret_key() if settings.secret_key or kept.exists() else None


def seal_keys(settings: Settings, passphrase: str) -> bytes:
    """What signs and hashes for this installation: from the settings, else from its files.

    Raises:
        BackupError: they are not here.
    """
    secret = known_secret(settings)
    if secret is None:
        raise BackupError(f"no SECRET_KEY, and no secret.key in {settings.signpost_home}")
    found = {"secret_key": secret.decode()}
    if settings.jwt_private_key is not None:
        found["jwt_private_key"] = settings.jwt_private_key
    elif settings.jwt_keys_path.exists():
        found["jwt_keys"] = settings.jwt_keys_path.read_text()
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, orjson.dumps(found), _FORM)
    return _FORM + salt + nonce + sealed


def open_keys(sealed: bytes, passphrase: str) -> dict[str, str]:
    """What was sealed.

    Raises:
        BackupError: by another passphrase, or it is damaged.
    """
    form, body = sealed[: len(_FORM)], sealed[len(_FORM) :]
    salt, nonce = body[:_SALT_BYTES], body[_SALT_BYTES : _SALT_BYTES + _NONCE_BYTES]
    try:
        if form != _FORM:
            raise InvalidTag
        opened = AESGCM(_key(passphrase, salt)).decrypt(
            nonce, body[_SALT_BYTES + _NONCE_BYTES :], _FORM
        )
    except InvalidTag:
        raise BackupError("the keys cannot be opened with this passphrase") from None
    found: dict[str, str] = orjson.loads(opened)
    return found


def restore_keys(home: Path, found: dict[str, str]) -> list[str]:
    """Put keys where processes without a setting look for them, in place of what is there; what
    settings must say instead is given back."""
    write_whole(home / "secret.key", found["secret_key"])
    if "jwt_keys" in found:
        write_whole(home / "jwt-keys.json", found["jwt_keys"])
    return ["JWT_PRIVATE_KEY"] if "jwt_private_key" in found else []


def read_passphrase(path: Path) -> str:
    """The first line of a file.

    Raises:
        BackupError: it is empty.
    """
    lines = path.read_text().splitlines()
    if not lines or not lines[0]:
        raise BackupError(f"{path} has no passphrase in its first line")
    return lines[0]


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase.encode())
