"""The links of the demo, made from a file of addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from api.core.errors import DomainError
from api.links.drafts import LinkDraft
from api.links.service import LinkFilter, LinkService

TAG = "demo"
_PAGE = 200


def drafts_of(path: Path, limit: int) -> list[LinkDraft]:
    """Up to `limit` drafts; the words of the comment line above an address become its tag.

    Raises:
        OSError: the file cannot be read.
    """
    drafts: list[LinkDraft] = []
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ").partition(":")[0].partition("(")[0].strip().lower()
        elif line:
            tags = (TAG, section[:50]) if section else (TAG,)
            drafts.append(LinkDraft(url=line, tags=tags))
    step = max(1, len(drafts) // limit)
    return drafts[::step][:limit]


def existing(links: LinkService, workspace: int, limit: int) -> list[int]:
    """The ids of demo links that are there already."""
    found: list[int] = []
    cursor: str | None = None
    while len(found) < limit:
        rows, cursor = links.list_links(
            workspace, LinkFilter(tag=TAG), fields=("id",), limit=_PAGE, cursor=cursor
        )
        found += [row.id for row in rows]
        if cursor is None:
            break
    return found[:limit]


def create(
    links: LinkService, workspace: int, drafts: Sequence[LinkDraft]
) -> Iterator[tuple[int, list[int], int]]:
    """Create the drafts, some at a time: how many were tried, the new ids, how many failed."""
    for start in range(0, len(drafts), _PAGE):
        chunk = drafts[start : start + _PAGE]
        outcomes = links.create_links(workspace, chunk)
        made = [outcome.id for outcome in outcomes if not isinstance(outcome, DomainError)]
        yield len(chunk), made, len(chunk) - len(made)
