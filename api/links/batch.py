"""Many operations in one request, each with its own result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """Perform `operations` in their order; neighbouring creations go in one statement.

    One that fails stops no other.
    """
    results: list[Result] = []
    index = 0
    while index < len(operations):
        run = _creations_from(operations, index)
        if run:
            for outcome in links.create_links(workspace, [creation.draft for creation in run]):
                results.append(
                    _failed(outcome) if isinstance(outcome, DomainError) else Result(201, outcome)
                )
            index += len(run)
        else:
            results.append(_perform_one(links, workspace, operations[index]))
            index += 1
    return results


def _creations_from(operations: Sequence[Operation], start: int) -> list[Create]:
    run: list[Create] = []
    for operation in operations[start:]:
        if not isinstance(operation, Create):
            break
        run.append(operation)
    return run


def _perform_one(links: LinkService, workspace: int, operation: Operation) -> Result:
    always: Callable[[AnyRow], bool] = lambda link: True  # noqa: ARG005, E731
    try:
        match operation:
            case Update(link_id, patch):
                return Result(200, links.update_link(workspace, link_id, patch, always))
            case Delete(link_id):
                links.delete_link(workspace, link_id, always)
                return Result(204)
            case Unreadable(error):
                return Result(error.status, error=error, unread=True)
    except DomainError as error:
        return _failed(error)
    raise TypeError(f"not an operation: {operation!r}")


def _failed(error: DomainError) -> Result:
    return Result(error.status, error=error)
