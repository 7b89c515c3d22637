"""The links of a running Shlink, Kutt or YOURLS, the oldest first: what is made while they are read
comes at the end, and a number of links is a place from which they can be read on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from api.transfers.sources.asking import Asker
from api.transfers.sources.errors import NotAnswered
from api.transfers.sources.records import Record

_TRIES = 10

Found = list[Any]


class Pages(ABC):
    """All links of a service."""

    total = 0

    def __init__(self, asker: Asker, base: str) -> None:
        self._asker = asker
        self._base = base.rstrip("/")

    @abstractmethod
    def records(self, start: int) -> Iterator[Record]:
        """Those after the first `start`.

        Raises:
            NotAnswered: the service refuses or does not answer, or is another one.
        """


class ShlinkPages(Pages):
    """`GET /rest/v3/short-urls`, which sorts by itself."""

    _SIZE = 100

    def records(self, start: int) -> Iterator[Record]:
        number, skip = start // self._SIZE + 1, start % self._SIZE
        last = number
        while number <= last:
            answer = self._asker.get(
                f"{self._base}/rest/v3/short-urls",
                {"page": number, "itemsPerPage": self._SIZE, "orderBy": "dateCreated-ASC"},
            )
            try:
                found = answer["shortUrls"]["data"]
                pagination = answer["shortUrls"]["pagination"]
                self.total, last = int(pagination["totalItems"]), int(pagination["pagesCount"])
            except (KeyError, TypeError, ValueError):
                raise NotAnswered(f"{self._base} does not answer as a Shlink does") from None
            yield from map(_record, found[skip:])
            number, skip = number + 1, 0


class _NewestFirst(Pages):
    """A service that lists the newest first: it is read from the end."""

    _SIZE: int

    def records(self, start: int) -> Iterator[Record]:
        number, misses = start, 0
        self.total, _ = self._read(0, 1)
        while number < self.total:
            size = min(self._SIZE, self.total - number)
            total, found = self._read(self.total - number - size, size)
            if total != self.total:
                # Links were made or deleted meanwhile: these are not the ones that were meant.
                self.total, misses = total, misses + 1
                if misses == _TRIES:
                    raise NotAnswered(f"{self._base} changes faster than it can be read")
                continue
            if not found:
                return
            yield from map(_record, reversed(found))
            number, misses = number + len(found), 0

    @abstractmethod
    def _read(self, skip: int, size: int) -> tuple[int, Found]:
        """How many there are, and some of them, the newest first."""


class KuttPages(_NewestFirst):
    """`GET /api/v2/links`."""

    _SIZE = 50  # Kutt gives no more

    def _read(self, skip: int, size: int) -> tuple[int, Found]:
        answer = self._asker.get(f"{self._base}/api/v2/links", {"limit": size, "skip": skip})
        try:
            return int(answer["total"]), list(answer["data"])
        except (KeyError, TypeError, ValueError):
            raise NotAnswered(f"{self._base} does not answer as a Kutt does") from None


class YourlsPages(_NewestFirst):
    """`yourls-api.php?action=stats`; the signature is sent where no log has it."""

    _SIZE = 200

    def __init__(self, asker: Asker, base: str, signature: str) -> None:
        super().__init__(asker, base.removesuffix("/yourls-api.php"))
        self._signature = signature

    def _read(self, skip: int, size: int) -> tuple[int, Found]:
        answer = self._asker.post(
            f"{self._base}/yourls-api.php",
            {
                "signature": self._signature,
                "action": "stats",
                "format": "json",
                "filter": "last",
                "start": skip,
                "limit": size,
            },
        )
        try:
            links = answer.get("links") or {}
            found = list(links.values() if isinstance(links, Mapping) else links)
            return int(answer["stats"]["total_links"]), found
        except (KeyError, TypeError, ValueError):
            raise NotAnswered(f"{self._base} does not answer as a YOURLS does") from None


def _record(found: Any) -> Record:
    return Record(found if isinstance(found, Mapping) else {})


PAGES_OF = ("shlink", "kutt", "yourls")


def pages_of(name: str, base: str, key: str, per_second: float, patience_seconds: float) -> Pages:
    """The links of the service of that kind at `base`."""

    def asker(headers: Mapping[str, str]) -> Asker:
        return Asker(headers, per_second, patience_seconds=patience_seconds)

    if name == "shlink":
        return ShlinkPages(asker({"X-Api-Key": key}), base)
    if name == "kutt":
        return KuttPages(asker({"X-API-Key": key}), base)
    return YourlsPages(asker({}), base, key)
