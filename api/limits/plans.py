"""Which plan a workspace has, remembered for some seconds: every call of the API asks."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from api.core.errors import Unavailable
from api.core.evictions import Evictions
from api.identity.service import PLAN_PREFIX, IdentityService
from config.plans import Plan

log = logging.getLogger(__name__)

# How long a change that was made elsewhere may go unseen while Redis is away.
_LIFE_SECONDS = 10.0
_MOST = 10_000


class _Entry(NamedTuple):
    plan: Plan
    until: float


class WorkspacePlans:
    """Finds the plan of a workspace. Database away: the plan that was known, else the default."""

    def __init__(
        self,
        identity: IdentityService,
        evictions: Evictions,
        plans: Mapping[str, Plan],
        default: str,
    ) -> None:
        self._identity = identity
        self._plans = plans
        self._default = plans[default]
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._unknown: set[str] = set()
        self._lock = threading.Lock()
        evictions.on_evict(self._evict)

    def of(self, workspace: int) -> Plan:
        """The plan of a workspace."""
        entry = self._entries.get(workspace)
        if entry is not None and time.monotonic() < entry.until:
            return entry.plan
        try:
            plan = self._named(self._identity.plan_of(workspace))
        except Unavailable:
            plan = self._default if entry is None else entry.plan
        with self._lock:
            self._entries.pop(workspace, None)
            self._entries[workspace] = _Entry(plan, time.monotonic() + _LIFE_SECONDS)
            if len(self._entries) > _MOST:
                self._entries.popitem(last=False)
        return plan

    def _named(self, name: str | None) -> Plan:
        if name is None or name in self._plans:
            return self._default if name is None else self._plans[name]
        if name not in self._unknown:
            self._unknown.add(name)
            log.warning("PLANS has no plan %s, which workspaces have: they get the default", name)
        return self._default

    def _evict(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                if key.startswith(PLAN_PREFIX):
                    self._entries.pop(int(key.removeprefix(PLAN_PREFIX)), None)
