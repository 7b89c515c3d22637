"""The rules of domains: who may use which, and which one a request is for."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, Invalid, NotFound, Unavailable
from api.core.evictions import Evictions
from api.core.ids import new_id
from api.core.pagination import Cursors
from api.domains import store
from api.domains.hosts import is_host_name, normalise_host

_DIRECTORY_SLOT = 0
# How long another process may go on with what it knows of a host while Redis is away.
_LIFE_SECONDS = 5.0
# How soon a directory that did not answer is asked again for the same host.
_RETRY_SECONDS = 1.0
_MAX_HOSTS = 10_000
EVICTION_PREFIX = "domain:"


class DomainTaken(Conflict):
    """The host is claimed already."""

    code = "domain-taken"
    title = "The domain is taken"


class DomainService:
    """Claims host names for workspaces. The default domain belongs to nobody: all may use it."""

    def __init__(
        self, db: Database, evictions: Evictions, secret: bytes, default_domain: str
    ) -> None:
        self._db = db
        self._evictions = evictions
        self._cursors = Cursors(secret, "domains")
        self.default_domain = default_domain
        self._owners = _OwnerCache()
        evictions.on_evict(self._owners.evict)

    def owner_of(self, host: str) -> int | None:
        """The workspace that has claimed a normalised `host`, from a cache of seconds.

        Raises:
            Unavailable: the directory is away and nothing is known of the host.
        """
        known = self._owners.get(host)
        if known.fresh:
            return known.owner
        try:
            with self._db.read_directory() as session:
                owner = store.get_owner(session, host)
        except Unavailable:
            if not known.found:
                raise
            # Not every visitor should wait for a database that hangs.
            self._owners.put(host, known.owner, _RETRY_SECONDS)
            return known.owner
        self._owners.put(host, owner)
        return owner

    def recall_owner(self, host: str, *, stale: bool = False) -> int | None:
        """The workspace that has claimed a normalised `host`, 0 for nobody, and None where this
        process does not know, or with `stale` never knew. Asks no database."""
        known = self._owners.get(host)
        return (known.owner or 0) if known.fresh or (stale and known.found) else None

    def look_up(self, hosts: Iterable[str], workspace: int | None = None) -> None:
        """Learn the owners of many hosts with one query; with `workspace` also of those that were
        known not to be its own.

        Raises:
            Unavailable: the directory is away.
        """
        names = {normalise_host(host) for host in hosts} - {None, self.default_domain}
        unknown = sorted(name for name in names if name and not self._knows(name, workspace))
        if not unknown:
            return
        with self._db.read_directory() as session:
            owners = store.find_owners(session, unknown)
        for host in unknown:
            self._owners.put(host, owners.get(host))

    def _knows(self, host: str, workspace: int | None) -> bool:
        known = self._owners.get(host)
        return known.fresh and workspace in (None, known.owner)

    def spelling_of(self, host: str) -> str:
        """`host` as domains are spelled; what is no host name at all stays as it is."""
        return normalise_host(host) or host

    def is_short_domain(self, host: str) -> bool:
        """Whether `host` serves short links of any workspace."""
        return host == self.default_domain or self.owner_of(host) is not None

    def domain_of_request(self, host_header: str, *, strict: bool) -> str | None:
        """The domain whose links a request with this `Host` is for.

        A host that nobody claimed is served as the default domain, or, with `strict`, not at all.
        """
        host = normalise_host(host_header)
        if host is not None and (host == self.default_domain or self.owner_of(host) is not None):
            return host
        return None if strict else self.default_domain

    def usable_by(self, workspace: int, text: str | None, *, looked_up: bool = False) -> str:
        """The domain that a workspace names for a link; the default one for None. With `looked_up`
        nobody asks again about a host that was not the workspace's a moment ago.

        Raises:
            Invalid: it is none of the workspace's domains.
        """
        if text is None:
            return self.default_domain
        host = normalise_host(text)
        if host == self.default_domain:
            return host
        owns = self._owns if not looked_up else lambda _, name: self.owner_of(name) == workspace
        if host is None or not owns(workspace, host):
            raise Invalid.field("/domain", "Not a domain of this workspace.")
        return host

    def _owns(self, workspace: int, host: str) -> bool:
        if self.owner_of(host) == workspace:
            return True
        # It may have been claimed a moment ago, through another process.
        self._owners.evict([EVICTION_PREFIX + host])
        return self.owner_of(host) == workspace

    def claim(self, workspace: int, host: str) -> AnyRow:
        """Make `host` a domain of the workspace.

        Raises:
            Invalid: it is not a host name, or it is the default domain.
            DomainTaken: a workspace has it.
        """
        name = normalise_host(host)
        if name is None or not is_host_name(name):
            raise Invalid.field("/host", "Not a host name.")
        if name == self.default_domain:
            raise Invalid.field("/host", "The default domain is everybody's.")
        with self._db.write_directory() as session:
            row = store.insert_domain(session, workspace, new_id(_DIRECTORY_SLOT), name)
        if row is None:
            raise DomainTaken(f"{name} is claimed already.")
        self._evictions.publish([EVICTION_PREFIX + name])
        return row

    def list_domains(
        self, workspace: int, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of domains, newest first, and the cursor of the next."""
        question = ("domains", workspace)
        before = self._cursors.read(cursor, question)[0] if cursor else None
        with self._db.read_directory() as session:
            rows = store.find_domains(session, workspace, before, limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].id]) if more else None

    def get_domain(self, workspace: int, identifier: int) -> AnyRow:
        """One domain.

        Raises:
            NotFound: the workspace has no such domain.
        """
        with self._db.read_directory() as session:
            row = store.get_domain(session, workspace, identifier)
        if row is None:
            raise NotFound("There is no such domain.")
        return row

    def release(self, workspace: int, identifier: int) -> None:
        """Give a domain up. Its links stay, and answer again when it is claimed again.

        Raises:
            NotFound: the workspace has no such domain.
        """
        with self._db.write_directory() as session:
            host = store.delete_domain(session, workspace, identifier)
        if host is None:
            raise NotFound("There is no such domain.")
        self._evictions.publish([EVICTION_PREFIX + host])


class _Known:
    __slots__ = ("found", "fresh", "owner")

    def __init__(self, owner: int | None, *, found: bool, fresh: bool) -> None:
        self.owner = owner
        self.found = found
        self.fresh = fresh


class _OwnerCache:
    """Owners of hosts, bounded, the least recently asked dropped first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[int | None, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, host: str) -> _Known:
        with self._lock:
            entry = self._entries.get(host)
            if entry is None:
                return _Known(None, found=False, fresh=False)
            self._entries.move_to_end(host)
        return _Known(entry[0], found=True, fresh=time.monotonic() < entry[1])

    def put(self, host: str, owner: int | None, seconds: float = _LIFE_SECONDS) -> None:
        with self._lock:
            self._entries[host] = (owner, time.monotonic() + seconds)
            self._entries.move_to_end(host)
            if len(self._entries) > _MAX_HOSTS:
                self._entries.popitem(last=False)

    def evict(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                if key.startswith(EVICTION_PREFIX):
                    self._entries.pop(key.removeprefix(EVICTION_PREFIX), None)
