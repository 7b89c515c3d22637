"""What was counted of a caller and its workspace, and what follows for the next request.

Rates are sliding windows of a minute: the minute before counts by the share of it that is still
within the last 60 seconds. Calls are counted by the day, in UTC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from api.core.principal import Principal
from config.plans import Plan

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400


class Counted(NamedTuple):
    """The state after a request was let through, or refused by `refused_by`."""

    now: float  # Unix seconds, of the clock of who counts
    this_minute: int = 0
    minute_before: int = 0
    calls: int = 0  # of the workspace, today
    refused_by: str | None = None
    granted: int = 1  # as many as were asked for, or fewer
    shared: bool = True  # by all processes, where there is a Redis


@dataclass(slots=True)
class Asked:
    """A request that wants to be let through: whose it is, and what its plan allows."""

    workspace_id: int
    who: str  # the credential, within the workspace
    policy: str  # "reads" or "writes"
    rate: int  # a minute; 0: any
    quota: int  # calls a day of the workspace; 0: any
    counted: Counted | None = None

    def rate_left(self, counted: Counted) -> int:
        """How many more of this minute's requests would be let through at once."""
        share = 1 - counted.now % MINUTE_SECONDS / MINUTE_SECONDS
        return max(0, math.floor(self.rate - counted.minute_before * share - counted.this_minute))

    def calls_left(self, counted: Counted) -> int:
        """How many more calls the workspace has today."""
        return max(0, self.quota - counted.calls)


def ask(plan: Plan, caller: Principal, *, writes: bool) -> Asked:
    """What a request of `caller` is held to."""
    return Asked(
        workspace_id=caller.workspace_id,
        who=_credential(caller),
        policy="writes" if writes else "reads",
        rate=plan.writes_per_minute if writes else plan.reads_per_minute,
        quota=plan.api_calls_per_day,
    )


def _credential(caller: Principal) -> str:
    """What stays the same when a token is renewed."""
    if caller.credential_id:
        return f"key:{caller.credential_id}"
    return f"client:{caller.client_id}:{caller.user_id}"


def seconds_to_minute(counted: Counted) -> int:
    """Until the window of the rate ends."""
    return math.ceil(MINUTE_SECONDS - counted.now % MINUTE_SECONDS)


def seconds_to_day(counted: Counted) -> int:
    """Until the day ends."""
    return math.ceil(DAY_SECONDS - counted.now % DAY_SECONDS)


def seconds_to_room(counted: Counted, rate: int) -> int:
    """Until one more request is within the rate, if no other comes meanwhile."""
    passed = counted.now % MINUTE_SECONDS
    if counted.this_minute < rate:
        # What is left of the minute before must shrink to what this one leaves for it.
        room = (
            MINUTE_SECONDS * (1 - (rate - 1 - counted.this_minute) / max(counted.minute_before, 1))
            - passed
        )
    else:
        room = MINUTE_SECONDS - passed + MINUTE_SECONDS * (1 - (rate - 1) / counted.this_minute)
    return max(1, math.ceil(room))
