"""An export that was cut off goes on where it was, and gives each row once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.core.database.sessions import AnyRow
from api.core.errors import Unavailable
from api.transfers.exports import kinds, reading, stream
from tests.answers import problem
from tests.caller import Caller
from tests.factories.clicks import a_click, now_ms
from tests.transfers.conftest import Count
from tests.transfers.exported import exported

Failing = Callable[..., None]


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "ROWS_AT_ONCE", 3)


@pytest.fixture
def clicked(caller: Caller, count: Count) -> list[dict[str, Any]]:
    """Eleven clicks of three links; in each some at the same moment."""
    links = [caller.create_link() for _ in range(3)]
    now = now_ms()
    count(
        [
            a_click(int(link["id"]), workspace_id=caller.workspace_id, at_ms=now - number // 2)
            for link, many in zip(links, (4, 5, 2), strict=True)
            for number in range(many)
        ]
    )
    return links


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Has the databases fail on the way: after so many batches of each cursor, so often."""
    merged = reading.merged

    def fail(after: int, times: int) -> None:
        left = [times]

        def failing_merged(streams: Any) -> Iterator[tuple[list[AnyRow], Any]]:
            for number, batch in enumerate(merged(streams)):
                if number == after and left[0]:
                    left[0] -= 1
                    raise Unavailable("The database does not answer.")
                yield batch

        monkeypatch.setattr(reading, "merged", failing_merged)
        monkeypatch.setattr(reading, "_PAUSE_SECONDS", 0.01)

    return fail


def read_until_cut(caller: Caller, path: str) -> list[bytes]:
    """The whole lines that came before the answer broke off."""
    answer = caller.get(path)
    assert answer.status_code == 200
    data = b""
    with pytest.raises(stream.Incomplete):
        for piece in answer.response:
            data += piece
    answer.close()
    return data.splitlines()


def test_links_go_on_after_any_of_them(caller: Caller) -> None:
    links = [caller.create_link() for _ in range(8)]
    for number, link in enumerate(links, 1):
        rest = exported(caller, "links", fields="id", after=link["id"])
        assert rest == [{"id": it["id"]} for it in links[number:]]


def test_clicks_go_on_after_any_of_them(caller: Caller, clicked: list[dict[str, Any]]) -> None:
    every = exported(caller, "clicks")
    assert len(every) == 11
    for number, click in enumerate(every, 1):
        place = ",".join(click[name] for name in ("link_id", "clicked_at", "id"))
        assert exported(caller, "clicks", after=place) == every[number:]


@pytest.mark.parametrize("kind", ["links", "clicks"])
def test_cursors_that_are_opened_anew_give_each_row_once(
    caller: Caller, clicked: list[dict[str, Any]], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(8):
        caller.create_link()
    expected = exported(caller, kind)
    monkeypatch.setattr(reading, "_CURSOR_SECONDS", 0.0)
    assert exported(caller, kind) == expected


@pytest.mark.parametrize("kind", ["links", "clicks"])
def test_export_lives_through_a_database_that_fails_for_a_while(
    caller: Caller, clicked: list[dict[str, Any]], kind: str, failing: Failing
) -> None:
    for _ in range(8):
        caller.create_link()
    expected = exported(caller, kind)
    failing(after=1, times=3)
    assert exported(caller, kind) == expected


@pytest.mark.parametrize("kind", ["links", "clicks"])
def test_export_that_fails_for_good_says_where_to_go_on(
    caller: Caller,
    clicked: list[dict[str, Any]],
    kind: str,
    failing: Failing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(8):
        caller.create_link()
    expected = exported(caller, kind)
    monkeypatch.setattr(reading, "_PATIENCE_SECONDS", -1.0)
    failing(after=1, times=1)
    *lines, last = map(json.loads, read_until_cut(caller, f"/exports/{kind}"))
    assert lines == expected[:3]
    end = last["end"]
    assert (end["complete"], end["rows"]) == (False, 3)
    failing(after=0, times=0)
    assert exported(caller, kind, cursor=end["cursor"]) == expected[3:]
    # It is the cursor of these filters, and of this workspace.
    other = caller.get("/exports/links", query_string={"cursor": end["cursor"], "tag": "red"})
    problem(other, 400, "invalid-cursor")


def test_csv_goes_on_without_a_header(
    caller: Caller, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(8):
        caller.create_link()
    whole = caller.get("/exports/links?format=csv").data
    monkeypatch.setattr(reading, "_PATIENCE_SECONDS", -1.0)
    failing(after=1, times=1)
    lines = read_until_cut(caller, "/exports/links?format=csv")
    assert b"".join(line + b"\r\n" for line in lines) == whole[: whole.index(lines[-1])] + (
        lines[-1] + b"\r\n"
    )
    last = lines[-1].partition(b",")[0].decode()
    failing(after=0, times=0)
    rest = caller.get(f"/exports/links?format=csv&after={last}").data
    assert b"".join(line + b"\r\n" for line in lines) + rest == whole


def test_failure_at_the_beginning_is_a_problem(caller: Caller, failing: Failing) -> None:
    caller.create_link()
    failing(after=0, times=1)
    problem(caller.get("/exports/links"), 503, "unavailable")
    assert len(exported(caller, "links")) == 1


def test_parquet_that_is_cut_off_is_no_file(
    caller: Caller, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(8):
        caller.create_link()
    monkeypatch.setattr(reading, "_PATIENCE_SECONDS", -1.0)
    failing(after=1, times=1)
    data = b"".join(read_until_cut(caller, "/exports/links?format=parquet"))
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(io.BytesIO(data))
