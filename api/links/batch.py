"""Many operations in one request, each with its own result; where it is wanted, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from api.core.database.sessions import AnyRow
from api.core.errors import DomainError, Unavailable
from api.core.ids import slot_of_id
from api.links.drafts import LinkDraft
from api.links.service import LinkService
from api.links.writing import LinkWriter


class Create(Struct, frozen=True):
    """Make a link."""

    draft: LinkDraft


class Update(Struct, frozen=True):
    """Change a link."""

    link_id: int
    patch: Mapping[str, Any]


class Delete(Struct, frozen=True):
    """Delete a link."""

    link_id: int


class Unreadable(Struct, frozen=True):
    """What stands in the place of an operation, but is none."""

    error: DomainError


class Result(Struct, frozen=True):
    """What came of one operation: an HTTP status, and the link or the error."""

    status: int
    link: AnyRow | None = None
    error: DomainError | None = None
    unread: bool = False


Operation = Create | Update | Delete | Unreadable


class FailedDependency(DomainError):
    """An operation would have been performed, had another one not failed (RFC 4918 11.4)."""

    status = 424
    code = "failed-dependency"
    title = "Another operation of the batch failed"


class BatchUndone(DomainError):
    """An operation of an atomic batch failed, so that none was performed."""

    status = 422
    code = "batch-undone"
    title = "Nothing of the batch was done"

    def __init__(self, failed: Mapping[int, Result], many: int) -> None:
        """`failed` are results by the place of their operation, of `many`."""
        errors = [
            {"pointer": (place := f"/operations/{index}"), "detail": _why(result.error, place)}
            for index, result in failed.items()
            if result.error is not None
        ]
        first = errors[0]
        super().__init__(f"{first['pointer']}: {first['detail']}", errors=errors)
        other = FailedDependency()
        undone = Result(other.status, error=other)
        self.results = [failed.get(index, undone) for index in range(many)]


def _why(error: DomainError, place: str) -> str:
    """Why an operation failed; what is wrong in it is named from there."""
    return (error.detail or error.title).removeprefix(place)


class BatchSpansDatabases(DomainError):
    """The links of an atomic batch are on several shards, and no transaction goes over two."""

    status = 422
    code = "batch-spans-databases"
    title = "The links of the batch are in several databases"

    def __init__(self, first: int, elsewhere: Sequence[int]) -> None:
        """The place of an operation, and of those that are not on its shard."""
        detail = f"In another database than that of /operations/{first}."
        super().__init__(
            "An atomic batch reaches the links of one database only.",
            errors=[{"pointer": f"/operations/{each}", "detail": detail} for each in elsewhere],
        )


def perform(writer: LinkWriter, workspace: int, operations: Sequence[Operation]) -> list[Result]:
    """Perform `operations` in their order; neighbours of one kind go in a few statements.

    One that fails stops no other.
    """
    results: list[Result] = []
    while len(results) < len(operations):
        results += _perform_run(writer, workspace, _run_from(operations, len(results)))
    return results


def perform_together(
    links: LinkService, workspace: int, operations: Sequence[Operation]
) -> list[Result]:
    """Perform all of `operations`, in their order and in one transaction, or none of them.

    Raises:
        BatchUndone: one of them failed.
        BatchSpansDatabases: they are on several shards.
        Unavailable: something that they need is away.
    """
    if any(isinstance(each, Unreadable) for each in operations):
        raise BatchUndone(
            {
                index: Result(each.error.status, error=each.error, unread=True)
                for index, each in enumerate(operations)
                if isinstance(each, Unreadable)
            },
            len(operations),
        )
    slot = _slot_of_all(links, operations)
    drafts = [each.draft for each in operations if isinstance(each, Create)]
    results: list[Result] = []
    with links.together(workspace, slot, drafts) as writer:
        while len(results) < len(operations):
            run = _run_from(operations, len(results))
            results += _perform_run(writer, workspace, run)
            failed = {place: each for place, each in enumerate(results) if each.error is not None}
            for each in failed.values():
                if isinstance(each.error, Unavailable):
                    raise each.error
            if failed:
                raise BatchUndone(failed, len(operations))
    return results


def _slot_of_all(links: LinkService, operations: Sequence[Operation]) -> int | None:
    """The slot of the first link that has a place already; of all others that is the same shard.

    Raises:
        BatchSpansDatabases: it is not.
    """
    first: tuple[int, int] | None = None
    elsewhere: list[int] = []
    for index, operation in enumerate(operations):
        slot = _slot_of(links, operation)
        if slot is None:
            continue
        first = first or (index, slot)
        if not links.same_database(first[1], slot):
            elsewhere.append(index)
    if first is None:
        return None
    if elsewhere:
        raise BatchSpansDatabases(first[0], elsewhere)
    return first[1]


def _slot_of(links: LinkService, operation: Operation) -> int | None:
    match operation:
        case Create(draft):
            return links.slot_of_draft(draft)
        case Update(link_id) | Delete(link_id):
            return slot_of_id(link_id)
    return None


def _perform_run(writer: LinkWriter, workspace: int, run: Sequence[Operation]) -> list[Result]:
    match run[0]:
        case Create():
            drafts = [each.draft for each in run if isinstance(each, Create)]
            return [_result(201, made) for made in writer.create_links(workspace, drafts)]
        case Update():
            patches = {each.link_id: each.patch for each in run if isinstance(each, Update)}
            changed = writer.update_links(workspace, patches)
            return [_result(200, changed[link_id]) for link_id in patches]
        case Delete():
            ids = [each.link_id for each in run if isinstance(each, Delete)]
            gone = writer.delete_links(workspace, ids)
            return [_result(204, gone[link_id]) for link_id in ids]
        case Unreadable(error):
            return [Result(error.status, error=error, unread=True)]


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
