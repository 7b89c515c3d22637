"""The rules of quotas: what a workspace may still make, and what it has used."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.core.principal import Principal
from api.limits import store
from api.limits.counts import (
    Asked,
    Counted,
    ask,
    seconds_to_day,
    seconds_to_minute,
)
from api.limits.errors import QuotaExceeded
from api.limits.plans import WorkspacePlans

log = logging.getLogger(__name__)

__all__ = ["LimitService", "LinkQuota", "QuotaExceeded"]

# Tells what is counted of a request like this, and counts nothing.
Look: TypeAlias = Callable[[Asked], Counted]


@dataclass(frozen=True, slots=True)
class Grant:
    """So many links may be made, and are counted already, in this month."""

    links: int
    month: date | None  # None: nothing is counted


@dataclass(frozen=True, slots=True)
class Usage:
    """One limit of a plan, and what was used of it."""

    policy: str
    limit: int
    used: int
    resets_at: datetime


class LinkQuota:
    """Counts the links that workspaces make by the month, where their plan has a quota of them.

    Links are counted before they are made, in a row that two processes lock in turn, so there is
    never one too many. What then came to nothing is given back; a process that dies in between
    leaves the month with a few links less, never with more.
    """

    def __init__(self, db: Database, plans: WorkspacePlans) -> None:
        self._db = db
        self._plans = plans

    def take(self, workspace: int, links: int) -> Grant:
        """As many of `links` as the month has left.

        Raises:
            Unavailable: nothing can be counted now, so nothing is granted.
        """
        quota = self._plans.of(workspace).links_per_month
        if not quota or not links:
            return Grant(links, None)
        month = _month(datetime.now(UTC))
        with self._db.write_directory_once(noted=False) as connection:
            if store.take_all(connection, workspace, month, links, quota):
                return Grant(links, month)
        with self._db.write_directory(noted=False) as session:
            return Grant(store.take_some(session, workspace, month, links, quota), month)

    def give_back(self, workspace: int, grant: Grant, made: int) -> None:
        """Of what was granted only `made` links came to be."""
        if grant.month is None or made >= grant.links:
            return
        try:
            with self._db.write_directory(noted=False) as session:
                store.give_back(session, workspace, grant.month, grant.links - made)
        except Unavailable:
            log.warning("workspace %s was not given back %d links", workspace, grant.links - made)

    def refusal(self, workspace: int) -> QuotaExceeded:
        """What is told about a link that was not granted."""
        now = datetime.now(UTC)
        quota = self._plans.of(workspace).links_per_month
        wait_seconds = math.ceil((_after(_month(now)) - now).total_seconds())
        return QuotaExceeded("links", f"The plan allows {quota} new links a month.", wait_seconds)


class LimitService:
    """Tells workspaces of their plan and of what they use."""

    def __init__(self, db: Database, plans: WorkspacePlans, look: Look) -> None:
        self._db = db
        self._plans = plans
        self.look = look

    def get_usage(self, caller: Principal) -> tuple[str, list[Usage]]:
        """The plan of the caller's workspace, and each of its limits."""
        plan = self._plans.of(caller.workspace_id)
        return plan.name, list(self._limits(caller))

    def _limits(self, caller: Principal) -> Iterator[Usage]:
        plan = self._plans.of(caller.workspace_id)
        for writes in (False, True):
            asked = ask(plan, caller, writes=writes)
            if not asked.rate and not asked.quota:
                continue
            counted = self.look(asked)
            if asked.rate:
                used = asked.rate - asked.rate_left(counted)
                yield Usage(asked.policy, asked.rate, used, _in(seconds_to_minute(counted)))
            if writes and asked.quota:
                yield Usage("calls", asked.quota, counted.calls, _in(seconds_to_day(counted)))
        if plan.links_per_month:
            month = _month(datetime.now(UTC))
            with self._db.read_directory_once() as connection:
                used = store.ask_used(connection, caller.workspace_id, month)
            yield Usage("links", plan.links_per_month, used, _after(month))


def _month(now: datetime) -> date:
    return now.date().replace(day=1)


def _after(month: date) -> datetime:
    """When the month ends."""
    following = (month + timedelta(days=31)).replace(day=1)
    return datetime(following.year, following.month, 1, tzinfo=UTC)


def _in(seconds: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
