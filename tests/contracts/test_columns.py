"""What is not shown is not read: no list asks for more than its columns."""

from __future__ import annotations

import re

import pytest

from api.links.schemas import FIELDS
from api.links.store import COLUMNS
from tests.caller import Caller
from tests.contracts.endpoints import ENDPOINTS
from tests.statements import Statement, recorded

# Of a link always: what a list is sorted by, and its version.
ALWAYS = {"id", "version", "updated_at"}
# Large, or nobody's business.
HASHES = {"password_hash", "secret_hash", "token_hash", "key_hash", "search"}


def selected(statement: Statement) -> set[str]:
    """The columns that the outermost SELECT gives, and those that it makes them of."""
    text = statement.sql
    if text.lstrip().startswith("WITH"):
        text = text[text.rindex("SELECT links.") :]
    columns = re.split(r"\nFROM (?:links|\(SELECT|some)", text)[0]
    return set(re.findall(r"\b(?:links?|link_totals)\.(\w+)", columns))


@pytest.mark.parametrize("query", ["", "&tag=a", "&q=page", "&q=nowhere", "&sort=updated_at&tag=a"])
@pytest.mark.parametrize("field", FIELDS)
def test_fields_are_all_that_is_read(caller: Caller, field: str, query: str) -> None:
    caller.create_link("https://example.com/page", tags=["a"])
    with recorded() as sent:
        page = caller.get(f"/links?fields={field}{query}")
    assert page.status_code == 200
    assert all(list(link) == [field] for link in (page.json or {})["data"])
    lists = [statement for statement in sent if "links" in statement.sql]
    assert lists
    names = {str(column.key) for column in COLUMNS[field]}
    if field == "has_password":
        names.add("password_hash")  # IS NOT NULL, which reads none
    if field == "clicks":
        names |= {"slot", "link_id"}
    if field == "metadata":
        names.add("metadata")
    for statement in lists:
        assert selected(statement) <= ALWAYS | names, statement.sql
        assert field in ALWAYS or selected(statement) & names, statement.sql


def test_several_fields_are_read_together(caller: Caller) -> None:
    with recorded() as sent:
        caller.get("/links?fields=id,url,state")
    (statement,) = [each for each in sent if "FROM links" in each.sql]
    state = {"enabled", "starts_at", "expires_at", "max_clicks", "uses"}
    assert selected(statement) == ALWAYS | {"url"} | state


def test_no_list_reads_what_it_does_not_show(caller: Caller) -> None:
    """Of hashes it is asked whether there is one."""
    lists = [name for name in ENDPOINTS if name.rpartition(".")[2].startswith("list_")]
    assert len(lists) >= 10
    owner = caller.with_role("owner")
    link = caller.create_link()["id"]
    for name in lists:
        path = name.rpartition("list_")[2].replace("_", "-")
        with recorded() as sent:
            answer = owner.get({"clicks": f"/links/{link}/clicks"}.get(path, f"/{path}"))
        assert answer.status_code == 200, path
        told = [each.sql for each in sent if "key_hash = " not in each.sql]
        assert told, path
        for sql in told:
            columns = sql.partition("\nFROM")[0]
            assert "*" not in columns, sql
            shown = re.sub(r"\w+\.\w+ IS NOT NULL", "", columns)
            assert not HASHES & set(re.findall(r"\w+", shown)), sql


def test_list_of_clicks_reads_what_it_shows(caller: Caller) -> None:
    link = caller.create_link()["id"]
    with recorded() as sent:
        caller.get(f"/links/{link}/clicks")
    (statement,) = [each for each in sent if "FROM clicks" in each.sql]
    columns = set(re.findall(r"clicks\.(\w+)", statement.sql.partition("\nFROM")[0]))
    assert columns >= {"id", "clicked_at", "country", "visitor"}
    assert not columns & {"slot", "link_id", "workspace_id"}
