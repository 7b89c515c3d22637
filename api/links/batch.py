"""Many operations in one request, each with its own result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.core.database.sessions import AnyRow
from api.core.errors import DomainError
from api.links.drafts import LinkDraft
from api.links.service import LinkService


@dataclass(frozen=True, slots=True)
class Create:
    """Make a link."""

    draft: LinkDraft


@dataclass(frozen=True, slots=True)
class Update:
    """Change a link."""

    link_id: int
    patch: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a link."""

    link_id: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in the place of an operation, but is none."""

    error: DomainError


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one operation: an HTTP status, and the link or the error."""

    status: int
    link: AnyRow | None = None
    error: DomainError | None = None
    unread: bool = False


Operation = Create | Update | Delete | Unreadable


def perform(links: LinkService, workspace: int, operations: Sequence[Operation]) -> list[Result]:
    """Perform `operations` in their order; neighbours of one kind go in a few statements.

    One that fails stops no other.
    """
    results: list[Result] = []
    while len(results) < len(operations):
        run = _run_from(operations, len(results))
        match run[0]:
            case Create():
                drafts = [each.draft for each in run if isinstance(each, Create)]
                results += [_result(201, made) for made in links.create_links(workspace, drafts)]
            case Update():
                patches = {each.link_id: each.patch for each in run if isinstance(each, Update)}
                changed = links.update_links(workspace, patches)
                results += [_result(200, changed[link_id]) for link_id in patches]
            case Delete():
                ids = [each.link_id for each in run if isinstance(each, Delete)]
                gone = links.delete_links(workspace, ids)
                results += [_result(204, gone[link_id]) for link_id in ids]
            case Unreadable(error):
                results.append(Result(error.status, error=error, unread=True))
    return results


def _run_from(operations: Sequence[Operation], start: int) -> list[Operation]:
    """The operations from `start` on that can be performed together: of one kind, and each of
    another link."""
    run: list[Operation] = []
    seen: set[int] = set()
    for operation in operations[start:]:
        if run and type(operation) is not type(run[0]):
            break
        if isinstance(operation, Update | Delete):
            if operation.link_id in seen:
                break
            seen.add(operation.link_id)
        run.append(operation)
        if isinstance(operation, Unreadable):
            break
    return run


def _result(status: int, outcome: AnyRow | DomainError | None) -> Result:
    if isinstance(outcome, DomainError):
        return Result(outcome.status, error=outcome)
    return Result(status, outcome)
