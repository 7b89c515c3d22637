"""What a backup says of itself: `manifest.json`, beside the folders of its databases."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from api.core.database.backups.errors import Damaged
from api.core.database.sessions import SlotRange
from config.private_files import write_whole

NAME = "manifest.json"
# Secret keys, sealed with a passphrase.
KEYS = "keys.sealed"
FORMAT = 1


class TableFacts(msgspec.Struct, frozen=True):
    """The rows of a table at the point."""

    rows: int
    checksum: str
    size_bytes: int


class FileFacts(msgspec.Struct, frozen=True):
    """A file of the backup."""

    sha256: str
    size_bytes: int


class DatabaseFacts(msgspec.Struct, frozen=True):
    """A database at the point."""

    server_version: str
    server_major: int
    # Everything that was written before this position of its write-ahead log is in the backup,
    # and nothing after it.
    wal_position: str
    snapshot_at: datetime
    schema: str
    revisions: dict[str, str]
    tables: dict[str, TableFacts]


class SlotFacts(msgspec.Struct, frozen=True):
    """Which shard has which slots, and which shards' addresses the directory keeps."""

    version: int
    shards: dict[str, list[SlotRange]]
    stored_addresses: list[str]


class Manifest(msgspec.Struct, frozen=True):
    """All that there is to know of a backup."""

    format: int
    name: str
    signpost_version: str
    # All databases are as somebody would have found them who read all of them at this moment.
    point_at: datetime
    began_at: datetime
    ended_at: datetime
    writers_waited_seconds: float
    tries: int
    tools: str
    # Tells one SECRET_KEY from another, and nothing else of it.
    secret_key_mark: str | None
    has_keys: bool
    verified_at: datetime | None
    slots: SlotFacts
    databases: dict[str, DatabaseFacts]
    files: dict[str, FileFacts]
    # Of all of the above.
    checksum: str = ""

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(it.rows for one in self.databases.values() for it in one.tables.values())

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files.values())

    def write(self, folder: Path) -> None:
        """Put it into a backup's folder."""
        whole = msgspec.structs.replace(self, checksum=_checksum(self))
        body = msgspec.json.format(msgspec.json.encode(whole), indent=1)
        write_whole(folder / NAME, body.decode() + "\n")


def read(folder: Path) -> Manifest:
    """The manifest of a backup's folder.

    Raises:
        Damaged: there is none, or it is none.
    """
    try:
        return parse((folder / NAME).read_bytes(), str(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(f"{folder} is no backup: it has no {NAME}") from None


def parse(body: bytes, place: str) -> Manifest:
    """The same of bytes that were found at `place`."""
    try:
        found = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Damaged(f"the {NAME} of {place} cannot be read: {error}") from None
    if found.format != FORMAT:
        raise Damaged(f"{place} has format {found.format}, which this release does not know")
    if found.checksum != _checksum(found):
        raise Damaged(f"the {NAME} of {place} is not what it was")
    return found


def _checksum(manifest: Manifest) -> str:
    body = msgspec.json.encode(msgspec.structs.replace(manifest, checksum=""))
    return hashlib.sha256(body).hexdigest()


def mark_of(secret: bytes | None) -> str | None:
    """What tells a secret key from others."""
    if secret is None:
        return None
    return hmac.new(secret, b"signpost backup", hashlib.sha256).hexdigest()[:16]


def told_facts(manifest: Manifest) -> dict[str, Any]:
    """A backup for machines, without its files and tables."""
    verified = manifest.verified_at
    return {
        "name": manifest.name,
        "signpost_version": manifest.signpost_version,
        "point_at": manifest.point_at.isoformat(),
        "age_seconds": round((datetime.now(UTC) - manifest.point_at).total_seconds()),
        "seconds": round((manifest.ended_at - manifest.began_at).total_seconds(), 3),
        "writers_waited_seconds": manifest.writers_waited_seconds,
        "tries": manifest.tries,
        "verified_at": verified and verified.isoformat(),
        "has_keys": manifest.has_keys,
        "size_bytes": manifest.size_bytes,
        "rows": manifest.rows,
        "databases": {
            name: {
                "server_version": facts.server_version,
                "wal_position": facts.wal_position,
                "revisions": facts.revisions,
                "rows": sum(table.rows for table in facts.tables.values()),
            }
            for name, facts in manifest.databases.items()
        },
    }
