"""Links that arrive by the thousand: each row becomes a link, or meets the one that has its slug.

A chunk of rows may be loaded any number of times, as by a second worker where the first was killed,
and makes each link once: the id of a link, and the slug where none is given, follow from the number
of its row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from api.core.database.routing import LATEST, Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import DomainError, Invalid, Unavailable
from api.identity.service import IdentityService
from api.limits.service import LinkQuota
from api.links import arrival_store, store
from api.links.changes import COLUMN, settled
from api.links.drafts import LinkDraft, LinkRules
from api.links.placing import TRIES, Origin, Place, own_ids, place_of, placed
from api.links.service import SlugTaken

CREATED, EXISTS, OVERWRITTEN, FAILED = "created", "exists", "overwritten", "failed"
_ELSEWHERE = ("created_at", "clicks", "last_clicked_at", "password_hash", "has_password")


class Arrival(NamedTuple):
    """A row: its number, and its fields as `api.links.rows` reads them."""

    number: int
    fields: Mapping[str, Any]


class Fate(NamedTuple):
    """What became of a row; `error` is why it failed."""

    outcome: str
    id: int | None = None
    slug: str | None = None
    domain: str | None = None
    error: DomainError | None = None


@dataclass(slots=True)
class _Group:
    """Rows with the same slug, in their order, and the link that the first of them would be."""

    row: dict[str, Any]
    arrivals: list[Arrival]
    overwrites: int | None = None  # the link that takes their fields
    replaces: int | None = None  # a deleted link that gives its slug up
    error: DomainError | None = None


@dataclass(slots=True)
class _Run:
    """What is known of a chunk while it is loaded."""

    origin: Origin
    conflict: str
    again: bool
    values: dict[int, dict[str, Any]] = field(default_factory=dict)
    fates: dict[int, Fate] = field(default_factory=dict)

    def settle(self, group: _Group, outcome: str, identifier: int | None) -> None:
        """What the first row of a group became, and the others after it."""
        slug, domain = group.row["slug"], group.row["domain"]
        first, *others = group.arrivals
        self.fates[first.number] = Fate(outcome, identifier, slug, domain)
        then = {"skip": EXISTS, "overwrite": OVERWRITTEN}.get(self.conflict)
        for arrival in others:
            self.fates[arrival.number] = (
                Fate(FAILED, None, slug, domain, _taken(group))
                if then is None
                else Fate(then, identifier, slug, domain)
            )

    def fail(self, group: _Group, error: DomainError) -> None:
        """None of a group became anything, but for one that was made before."""
        for arrival in group.arrivals:
            fate = self.fates.get(arrival.number)
            if fate is not None and fate.outcome == CREATED:
                continue
            given = arrival.fields.get("slug") and group.row["slug"]
            self.fates[arrival.number] = Fate(FAILED, None, given, group.row["domain"], error)


class LinkArrivals:
    """Loads rows in bulk; only where psycopg2 may COPY, which is not beside gevent."""

    def __init__(
        self,
        db: Database,
        rules: LinkRules,
        identity: IdentityService,
        quota: LinkQuota,
        evict: Callable[[Iterable[tuple[str, str]]], None],
    ) -> None:
        """`evict` is told of domains and slugs that somebody may have asked for before."""
        self._db = db
        self._rules = rules
        self._identity = identity
        self._quota = quota
        self._evict = evict

    def load(
        self,
        origin: Origin,
        arrivals: Sequence[Arrival],
        conflict: str,
        *,
        again: bool = False,
        dry_run: bool = False,
    ) -> dict[int, Fate]:
        """What became of rows, by their numbers; `again`: somebody may have loaded some of them.
        With `dry_run` what would, and nothing is written.

        Raises:
            Unavailable: a database is away. Some may be loaded: load all of them again.
        """
        run = _Run(origin, conflict, again)
        self._judge(run, arrivals)
        waiting = [arrival for arrival in arrivals if arrival.number in run.values]
        for attempt in range(TRIES):
            groups = self._grouped(run, waiting, attempt)
            waiting = []
            while groups:
                first = groups[0].row["slot"]
                here = [it for it in groups if self._db.same_shard(first, it.row["slot"])]
                groups = [it for it in groups if not self._db.same_shard(first, it.row["slot"])]
                waiting += self._load_shard(run, first, here, dry_run=dry_run)
            if not waiting:
                return run.fates
        raise Unavailable("There is no free id for some rows.")

    def _judge(self, run: _Run, arrivals: Sequence[Arrival]) -> None:
        """The column values of rows that break no rule; the fates of those that do."""
        drafts = {arrival.number: draft_of(arrival.fields) for arrival in arrivals}
        workspace = run.origin.workspace
        self._rules.look_up_hosts(workspace, list(drafts.values()))
        now = datetime.now(UTC)
        for arrival in arrivals:
            fields, draft = arrival.fields, drafts[arrival.number]
            try:
                values = self._rules.values_of(workspace, draft, looked_up=len(drafts) > 1)
            except Invalid as error:
                run.fates[arrival.number] = Fate(FAILED, error=error)
                continue
            if fields.get("has_password"):
                # Open, it would show to all what it has hidden.
                values["enabled"] = False
            clicks = fields.get("clicks", 0)
            run.values[arrival.number] = values | {
                "password_hash": fields.get("password_hash"),
                "clicks": clicks,
                "last_clicked_at": fields.get("last_clicked_at"),
                "created_at": fields.get("created_at"),
                "updated_at": now,
                # Uses are only kept while there is a limit: begin with what was counted so far.
                "uses": clicks if values["max_clicks"] else 0,
            }

    def _grouped(self, run: _Run, arrivals: Iterable[Arrival], attempt: int) -> list[_Group]:
        groups: dict[Place, _Group] = {}
        for arrival in arrivals:
            row = placed(
                run.origin,
                arrival.number,
                run.values[arrival.number],
                attempt,
                self._rules.slug_length,
            )
            place = place_of(row)
            if place in groups:
                groups[place].arrivals.append(arrival)
            else:
                groups[place] = _Group(row, [arrival])
        return sorted(groups.values(), key=lambda group: place_of(group.row))

    def _load_shard(
        self, run: _Run, slot: int, groups: Sequence[_Group], *, dry_run: bool
    ) -> list[Arrival]:
        """Load rows of the shard of `slot`; those that want another try."""
        again: list[_Group] = []
        free = self._meet(run, slot, groups, again)
        if dry_run:
            for group in free:
                run.settle(group, CREATED, None)
            self._settle_overwritten(run, groups)
            return [arrival for group in again for arrival in group.arrivals]
        grant = self._quota.take(run.origin.workspace, len(free))
        for group in free[grant.links :]:
            run.fail(group, self._quota.refusal(run.origin.workspace))
        free = free[: grant.links]
        made = self._write(run, slot, free, groups, again)
        self._quota.give_back(run.origin.workspace, grant, len(made))
        self._evict(
            (group.row["domain"], group.row["slug"])
            for group in groups
            if group.overwrites is not None
            or (group.row["id"] in made and group.arrivals[0].fields.get("slug"))
        )
        return [arrival for group in again for arrival in group.arrivals]

    def _meet(
        self, run: _Run, slot: int, groups: Sequence[_Group], again: list[_Group]
    ) -> list[_Group]:
        """Look for links that have the slugs already, and settle what follows; the groups that
        meet none, or one that gives way."""
        asked = [it for it in groups if run.again or it.arrivals[0].fields.get("slug")]
        holders: dict[Place, AnyRow] = {}
        if asked:
            with self._db.read(slot, since=LATEST) as session:
                found = store.find_holders(session, [place_of(it.row) for it in asked])
            holders = {(it.slot, it.domain, it.slug): it for it in found}
        free: list[_Group] = []
        reuse = any(it.deleted_at for it in holders.values()) and self._reuses(run)
        for group in groups:
            holder = holders.get(place_of(group.row))
            if holder is None:
                free.append(group)
            elif run.again and holder.id in own_ids(group.row):
                run.settle(group, CREATED, holder.id)
                self._overwrite_others(run, group, holder.id)
            elif not group.arrivals[0].fields.get("slug"):
                again.append(group)  # a slug that was made up, and is somebody's
            elif holder.deleted_at and reuse and holder.workspace_id == run.origin.workspace:
                group.replaces = holder.id
                free.append(group)
            elif (
                holder.deleted_at
                or holder.workspace_id != run.origin.workspace
                or run.conflict == "fail"
            ):
                run.fail(group, _taken(group))
            elif run.conflict == "skip":
                run.settle(group, EXISTS, holder.id)
            else:
                group.overwrites = holder.id
        return free

    def _write(
        self,
        run: _Run,
        slot: int,
        free: Sequence[_Group],
        groups: Sequence[_Group],
        again: list[_Group],
    ) -> set[int]:
        """Write links in one transaction; the ids of those that were made."""
        if not free and all(group.overwrites is None for group in groups):
            return set()
        workspace = run.origin.workspace
        with self._db.write(slot, workspace) as session:
            dead = [group.replaces for group in free if group.replaces is not None]
            if dead:
                store.delete_deleted(session, workspace, dead)
            made = arrival_store.copy_links(session, [group.row for group in free])
            for group in free:
                if group.row["id"] in made:
                    run.settle(group, CREATED, group.row["id"])
                    self._overwrite_others(run, group, group.row["id"])
            overwritten = [group for group in groups if group.overwrites is not None]
            lost = _overwrite(session, run, overwritten) if overwritten else []
        # Of two who wanted a slug, or an id, the second; and of a link that has just been deleted.
        again += [group for group in free if group.row["id"] not in made]
        again += lost
        self._settle_overwritten(run, groups)
        return made

    def _settle_overwritten(self, run: _Run, groups: Iterable[_Group]) -> None:
        for group in groups:
            if group.error is not None:
                run.fail(group, group.error)
            elif group.overwrites is not None and group.arrivals[0].number not in run.fates:
                run.settle(group, OVERWRITTEN, group.overwrites)

    @staticmethod
    def _overwrite_others(run: _Run, group: _Group, identifier: int) -> None:
        """Have the link that a row became take the fields of those behind it."""
        if run.conflict == "overwrite" and len(group.arrivals) > 1:
            group.overwrites = identifier

    def _reuses(self, run: _Run) -> bool:
        return bool(self._identity.get_workspace(run.origin.workspace).reuse_deleted_slugs)


def _overwrite(session: WriteSession, run: _Run, groups: Sequence[_Group]) -> list[_Group]:
    """Give links the fields of rows; those groups whose links are gone."""
    workspace = run.origin.workspace
    by_link = {group.overwrites: group for group in groups if group.overwrites is not None}
    links = {link.id: link for link in store.lock_links(session, workspace, by_link)}
    changes: dict[int, dict[str, Any]] = {}
    for identifier, link in links.items():
        group = by_link[identifier]
        try:
            changes[identifier] = _changes_of(run, group, link)
        except Invalid as error:
            group.error = error
            group.overwrites = None
    if changes:
        store.update_links(session, workspace, changes)
        arrival_store.raise_totals(
            session,
            [
                run.values[arrival.number] | {"slot": by_link[key].row["slot"], "id": key}
                for key in changes
                for arrival in by_link[key].arrivals
            ],
        )
    lost = [group for key, group in by_link.items() if key not in links]
    for group in lost:
        group.overwrites = None
    return lost


def _changes_of(run: _Run, group: _Group, link: AnyRow) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for arrival in group.arrivals:
        if group.row["id"] == link.id and arrival is group.arrivals[0]:
            continue  # it is the link
        row = run.values[arrival.number]
        values |= {
            column: row[column] for name, column in _COLUMNS.items() if name in arrival.fields
        }
        if arrival.fields.get("has_password") and not link.has_password:
            values["enabled"] = False
        elif arrival.fields.get("has_password") and "state" in arrival.fields:
            values["enabled"] = draft_of(arrival.fields).state == "active"
    custom = values.pop("custom", None)
    complete = settled(link, values)
    return complete if custom is None else complete | {"custom": custom}


_COLUMNS = {
    name: COLUMN.get(name, name)
    for name in (
        "url title tags starts_at expires_at max_clicks redirect_status forward_query metadata "
        "password_hash"
    ).split()
} | {"state": "enabled"}


def draft_of(fields: Mapping[str, Any]) -> LinkDraft:
    """The link that a row asks for; its password is hashed already."""
    given = {name: it for name, it in fields.items() if name not in (*_ELSEWHERE, "password")}
    if given.get("state") not in (None, "disabled"):
        given["state"] = "active"
    return LinkDraft(**given)


def _taken(group: _Group) -> SlugTaken:
    return SlugTaken(f"{group.row['domain']}/{group.row['slug']} is in use.")
