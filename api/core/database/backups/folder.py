"""Where backups are kept: each a folder, or one tar file, which has its name only when it is whole.

What is being made, or taken away, has a name of another form and a lock that ends with its process:
whatever kills that leaves nothing that looks like a backup.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from api.core.database.backups import manifest as manifests
from api.core.database.backups.errors import BackupError, Damaged
from api.core.database.backups.manifest import FileFacts, Manifest
from api.core.database.backups.stages import OnStage, Stage

_NAME = re.compile(r"signpost-\d{8}T\d{6}Z(\.tar)?")
_DRAFT = ".signpost-"
_BLOCK_BYTES = 1 << 20


def name_at(moment: datetime) -> str:
    """What a backup that is begun then is called."""
    return f"signpost-{moment:%Y%m%dT%H%M%SZ}"


@contextmanager
def private_files() -> Iterator[None]:
    """Within it what is made can be read by nobody else."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def draft(place: Path) -> Iterator[Path]:
    """A folder in `place` to make something in. What is left of it at the end goes, and so does
    what others left who were killed."""
    place.mkdir(parents=True, exist_ok=True)
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=_DRAFT, suffix=".partial", dir=place))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path) -> None:
    """Take away what killed processes left."""
    for left in place.glob(f"{_DRAFT}*.partial"):
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


def publish(made: Path, target: Path) -> None:
    """Give what is whole its name.

    Raises:
        BackupError: the name is taken.
    """
    if target.exists():
        raise BackupError(f"{target} is there already, and is not overwritten")
    # The other files are on the disk for good already.
    for path in (made / manifests.NAME, made) if made.is_dir() else (made,):
        _sync(path)
    made.rename(target)
    _sync(target.parent)


def pack(folder: Path, target: Path) -> None:
    """Put a backup's folder into a tar file; each file goes as soon as it is in there."""
    with tarfile.open(target, "w") as tar:
        # First, so that a list need not read the rest.
        paths = sorted(_files(folder), key=lambda path: (path.name != manifests.NAME, path))
        for path in paths:
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False)
            path.unlink()


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder of a backup; of a tar file one beside it, for as long as it is needed.

    Raises:
        Damaged: it is none.
    """
    if not path.is_file():
        yield path
        return
    with private_files(), draft(path.parent) as folder:
        try:
            with tarfile.open(path) as tar:
                tar.extractall(folder, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise Damaged(f"{path} cannot be unpacked: {error}") from None
        yield folder


def read_manifest(path: Path) -> Manifest:
    """What a backup says of itself, of a tar file without unpacking it.

    Raises:
        Damaged: it is none.
    """
    if not path.is_file():
        return manifests.read(path)
    try:
        with tarfile.open(path) as tar:
            first = tar.next()
            stream = tar.extractfile(first) if first and first.name == manifests.NAME else None
            if stream is None:
                raise Damaged(f"{path} does not begin with {manifests.NAME}")
            return manifests.parse(stream.read(), str(path))
    except tarfile.TarError as error:
        raise Damaged(f"{path} is no tar file: {error}") from None


def find_backups(place: Path) -> list[Path]:
    """All backups in a folder, the oldest first."""
    if not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if _NAME.fullmatch(path.name))


def keep_newest(place: Path, number: int) -> list[Path]:
    """Take away all but the newest ones; those that went."""
    gone = find_backups(place)[:-number]
    for path in gone:
        with draft(place) as folder:
            # From then on it is no backup, however far its deletion comes.
            path.rename(folder / path.name)
    return gone


def facts_of(folder: Path, on_stage: OnStage) -> dict[str, FileFacts]:
    """All files of a backup but its manifest, brought to the disk for good."""
    found, done, total = {}, 0, size_of(folder)

    def on_bytes(read: int) -> None:
        nonlocal done
        done += read
        on_stage(Stage("taking checksums", done, total))

    for path in sorted(_files(folder)):
        if path != folder / manifests.NAME:
            found[path.relative_to(folder).as_posix()] = _facts(path, on_bytes)
            _sync(path)
    for path in [folder, *filter(Path.is_dir, folder.rglob("*"))]:
        _sync(path)
    return found


def check(folder: Path, manifest: Manifest, on_stage: OnStage) -> None:
    """Look whether each file is as it was.

    Raises:
        Damaged: one is not, or is missing, or is too many.
    """
    there = {path.relative_to(folder).as_posix() for path in _files(folder)} - {manifests.NAME}
    for name in sorted(manifest.files.keys() - there):
        raise Damaged(f"{manifest.name} is damaged: {name} is missing")
    for name in sorted(there - manifest.files.keys()):
        raise Damaged(f"{manifest.name} is damaged: {name} does not belong to it")
    done = 0

    def on_bytes(read: int) -> None:
        nonlocal done
        done += read
        on_stage(Stage("checking files", done, manifest.size_bytes))

    for name, facts in manifest.files.items():
        path = folder / name
        if path.stat().st_size != facts.size_bytes or _facts(path, on_bytes) != facts:
            raise Damaged(f"{manifest.name} is damaged: {name} is not what it was")


def size_of(folder: Path) -> int:
    """All bytes of a folder."""
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _facts(path: Path, on_bytes: Callable[[int], object]) -> FileFacts:
    sha, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            sha.update(block)
            size += len(block)
            on_bytes(len(block))
    return FileFacts(sha.hexdigest(), size)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
