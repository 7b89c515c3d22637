"""On filled tables nothing that is asked for reads a table from one end to the other, or sorts more
than a page: no endpoint, no filter of a list, no chore."""

from __future__ import annotations

import itertools

import pytest

from api.core.pagination import MAX_LIMIT
from api.models import METADATA
from tests.contracts.endpoints import ENDPOINTS
from tests.contracts.filling import FILLED
from tests.contracts.plans import PAGE, SMALL_TABLES, Filled, Judge

# Who reads all there is, in pages of its own.
SORTS_MORE = {
    # A process reads the rules of a workspace again.
    "targets.block_target": 2_000,
    "targets.unblock_target": 2_000,
}


def test_all_tables_that_grow_are_filled() -> None:
    tables = {name for metadata in METADATA.values() for name in metadata.tables}
    assert tables == FILLED | SMALL_TABLES


SORTS = ("created_at", "-created_at", "updated_at", "-updated_at")
FILTERS = (
    "",
    "q=page+title",
    "q=slug+123",
    "q=seldom",
    "q=early",
    "q=nowhere",
    "q=t",
    "q=page+title+slug+https+7",
    "tag=all",
    "tag=tag7",
    "tag=none",
    "domain=other.example",
    "domain=sign.test",
    "domain=unknown.example",
    "state=active",
    "state=disabled",
    "state=scheduled",
    "state=expired",
    "state=exhausted",
    "created_after=2026-06-01T00:00:00Z&created_before=2026-06-02T00:00:00Z",
    "created_before=2026-02-01T00:00:00Z",
    "tag=tag7&q=page",
    "tag=none&q=page",
    "tag=tag7&state=active&domain=sign.test&q=page",
    "q=seldom&created_before=2026-02-01T00:00:00Z",
)


@pytest.mark.parametrize("query", FILTERS)
def test_lists_of_links_read_indexes(filled: Filled, query: str) -> None:
    judge = Judge()
    for caller, sort, limit in itertools.product(filled.callers, SORTS, (20, MAX_LIMIT)):
        path = f"/links?limit={limit}&sort={sort}&{query}"
        with judge.judging(path):
            page = caller.get(path)
            assert page.status_code == 200, page.text
        cursor = (page.json or {})["next_cursor"]
        if cursor is not None:
            with judge.judging(f"{path}, second page"):
                caller.get(f"{path}&cursor={cursor}")
    judge.verdict()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_endpoints_read_indexes(filled: Filled, endpoint: str) -> None:
    judge = Judge()
    call = ENDPOINTS[endpoint][1](filled.large)
    with judge.judging(endpoint, sort=SORTS_MORE.get(endpoint, PAGE)):
        answer = call()
    assert answer.status_code < 400, answer.text
    answer.close()
    judge.seen += ENDPOINTS[endpoint][0] == 0 or endpoint.startswith("operations.")
    judge.verdict()


OTHERS = (
    "/audit-events?action=key.create",
    "/audit-events?actor=user:7",
    "/audit-events?target=link:4",
    "/audit-events?target=link:4&action=link.create&actor=user:4",
    "/audit-events?after=2026-06-01T00:00:00Z",
    "/audit-events?before=2027-06-01T00:00:00Z",
    "/stats?from=2026-10-01&to=2026-11-01&interval=hour&timezone=Asia/Kathmandu&group_by=country",
    "/stats?tag=tag7&bots=include",
    "/stats?domain=sign.test&interval=week",
    "/stats/orphans?interval=hour",
    "/stats/orphans?host=host-7&kind=gone",
)


@pytest.mark.parametrize("path", OTHERS)
def test_filters_of_other_lists_read_indexes(filled: Filled, path: str) -> None:
    judge = Judge()
    for caller in filled.callers:
        with judge.judging(path):
            answer = caller.get(path)
        assert answer.status_code == 200, answer.text
        cursor = (answer.json or {}).get("next_cursor")
        if cursor is not None:
            with judge.judging(f"{path}, second page"):
                caller.get(f"{path}&cursor={cursor}")
    judge.verdict()


def test_link_that_is_already_there_is_found_by_index(filled: Filled) -> None:
    """Where thousands lead to the same address, too."""
    judge = Judge()
    for caller, url in itertools.product(filled.callers, ("landing", "page/78", "none")):
        with judge.judging(url):
            caller.post("/links?find_existing=true", {"url": f"https://example.com/{url}"})
    judge.verdict()


def test_page_reads_little_more_than_its_rows(filled: Filled) -> None:
    """What an index has in the order of the list is not gone through for others."""
    judge = Judge()
    for caller, sort in itertools.product(filled.callers, ("created_at", "-created_at")):
        for query in (
            "",
            "tag=all",
            "tag=tag7",
            "tag=none",
            "domain=other.example",
            "state=disabled",
        ):
            path = f"/links?limit=50&sort={sort}&{query}"
            with judge.judging(path, look=60):
                assert caller.get(path).status_code == 200
        for query in ("q=nowhere", "q=title", "q=slug+123", "tag=tag7&q=title"):
            path = f"/links?limit=50&sort={sort}&{query}"
            # The next links of the list, and what is rare.
            with judge.judging(path, look=2_600):
                assert caller.get(path).status_code == 200
    link = filled.large.owner.get("/links?limit=1").json["data"][0]["id"]  # type: ignore[index]
    with judge.judging("clicks", look=60):
        filled.large.owner.get(f"/links/{link}/clicks?limit=50")
    judge.verdict()
