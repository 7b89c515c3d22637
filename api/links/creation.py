"""How drafts become links, many in one request: each with its link or its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, DomainError, Invalid, Unavailable
from api.links.drafts import LinkDraft, LinkRules
from api.links.insertion import LinkInsertion
from api.links.transactions import Quota

# A generated slug is free at the first try but for one in a billion; five is for the id's sake.
_TRIES = 5


class SlugTaken(Conflict):
    """The slug is in use on its domain."""

    code = "slug-taken"
    title = "The slug is taken"


class LinkCreation:
    """Creates links of one workspace."""

    def __init__(self, rules: LinkRules, insertion: LinkInsertion, quota: Quota) -> None:
        self._rules = rules
        self._insertion = insertion
        self._quota = quota

    def create(self, workspace: int, drafts: Sequence[LinkDraft]) -> list[AnyRow | DomainError]:
        """New links, in one statement per shard; for each draft its link or its error."""
        outcomes: dict[int, AnyRow | DomainError] = {}
        waiting: dict[int, dict[str, Any]] = {}
        try:
            self._rules.look_up_hosts(workspace, drafts)
            for index, draft in enumerate(drafts):
                try:
                    waiting[index] = self._rules.row_of(workspace, draft, looked_up=len(drafts) > 1)
                except Invalid as error:
                    outcomes[index] = error
            grant = self._quota.take(workspace, len(waiting))
            for index in list(waiting)[grant.links :]:
                outcomes[index] = self._quota.refusal(workspace)
                del waiting[index]
            for _ in range(_TRIES):
                for made in self._insertion.insert(waiting, drafts):
                    outcomes |= made
                refused = {index: row for index, row in waiting.items() if index not in outcomes}
                if not refused:
                    break
                waiting = self._insertion.second_try(workspace, drafts, refused)
                outcomes |= {index: _taken(refused[index]) for index in refused.keys() - waiting}
            failed = sum(isinstance(one, DomainError) for one in outcomes.values())
            self._quota.give_back(workspace, grant, len(outcomes) - failed)
        except Unavailable as error:
            # What was made before stays, and is told as made.
            outcomes = dict.fromkeys(range(len(drafts)), error) | outcomes
        outcomes = {index: _taken(row) for index, row in waiting.items()} | outcomes
        return [outcomes[index] for index in range(len(drafts))]


def _taken(row: Mapping[str, Any]) -> SlugTaken:
    return SlugTaken(f"{row['domain']}/{row['slug']} is in use.")
