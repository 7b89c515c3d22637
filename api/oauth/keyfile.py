"""Where the keys are kept, and how running processes learn of new ones."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from api.core.dependencies import dependencies
from api.core.errors import Unavailable
from api.oauth.keys import KeyRing, UnusableKeys
from config.private_files import make_once, write_whole
from config.settings import Settings, SettingsError

# How soon a changed file is noticed; to look at it costs microseconds.
_LOOK_SECONDS = 1.0


class KeyFile:
    """A ring in a file that only its owner may read; made where there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def stamp(self) -> tuple[int, int, int] | None:
        """What differs after each change; None where there is no file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def read(self) -> KeyRing:
        """The ring; two processes that make the first one get the same."""
        if not self._path.exists():
            make_once(self._path, KeyRing.made().text())
        try:
            return KeyRing.parse(self._path.read_text(encoding="ascii"))
        except ValueError as error:
            raise UnusableKeys(f"{self._path}: {error}") from error

    def change(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Replace the ring by what `change` makes of it; one change after another."""
        with self._locked():
            ring = change(self.read())
            write_whole(self._path, ring.text())
        return ring

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Keys:
    """The ring of this process: from the setting, or from the file as it is now."""

    def __init__(self, settings: Settings) -> None:
        self.algorithm = settings.jwt_algorithm
        self.file: KeyFile | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._looked = 0.0
        self._ring: KeyRing | None = None
        self._found = dependencies.of("token keys", str(settings.jwt_keys_path))
        if settings.jwt_private_key is None:
            self.file = KeyFile(settings.jwt_keys_path)
            return
        try:
            self._ring = KeyRing.parse(settings.jwt_private_key)
        except UnusableKeys as error:
            raise SettingsError(f"JWT_PRIVATE_KEY: {error}.") from None
        if all(key.algorithm != self.algorithm for key in self._ring.keys):
            raise SettingsError(f"JWT_ALGORITHM: JWT_PRIVATE_KEY has no {self.algorithm} key.")

    def ring(self, *, sure: bool = False) -> KeyRing:
        """The ring, at most a second old; with `sure` as it is now.

        A file that cannot be read leaves what was read before in use.

        Raises:
            Unavailable: nothing was.
        """
        if self.file is None:
            assert self._ring is not None  # noqa: S101 - read when we were made
            return self._ring
        now = time.monotonic()
        if self._ring is None or sure or now - self._looked > _LOOK_SECONDS:
            self._looked = now
            self._look(self.file)
        if self._ring is None:
            raise Unavailable("There is no key for tokens.")
        return self._ring

    def _look(self, file: KeyFile) -> None:
        try:
            stamp = file.stamp()
            if self._ring is None or stamp != self._stamp:
                self._ring = file.read()
                self._stamp = stamp or file.stamp()
        except (OSError, UnusableKeys) as error:
            self._found.failed(error)
        else:
            self._found.answered()
