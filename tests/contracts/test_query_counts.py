"""Every endpoint sends a few statements, and no more where there are many things."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
from flask import Flask

from api.core.database.routing import Database
from api.identity.service import IdentityService
from tests.caller import Caller
from tests.contracts.conftest import make_ingest
from tests.contracts.endpoints import ENDPOINTS, Stage
from tests.statements import Statement, recorded

FEW, MANY = 3, 30
# Asked for once in some seconds, or when it has changed, by whoever comes then: which key it is,
# which plan, which shard, which targets are blocked.
REMEMBERED = re.compile(
    r"WHERE api_keys\.key_hash|SELECT workspaces\.plan|FROM (slot_map|shards|slots)\b"
    r"|WHERE target_rule_changes\.version >=|WHERE target_rules\.owner_id = %\(owner\)s"
)


@pytest.fixture(scope="module")
def stages(app: Flask, db: Database, identity: IdentityService) -> Iterator[Mapping[int, Stage]]:
    """A workspace with few things, and one with many."""
    ingest = make_ingest(db)
    made = {}
    for size in (FEW, MANY):
        owner = Caller.of_new_workspace(app, identity).with_role("owner")
        made[size] = Stage(app, db, owner, size, lambda segment: ingest.ingest([segment]))
        made[size].fill()
    yield made


def statements_of(stage: Stage, endpoint: str) -> list[Statement]:
    """What a call sends when it is made again, about other things of the kind."""
    statements_of_one(stage, endpoint)
    return [each for each in statements_of_one(stage, endpoint) if not REMEMBERED.search(each.sql)]


def statements_of_one(stage: Stage, endpoint: str) -> list[Statement]:
    """What one call sends."""
    call = ENDPOINTS[endpoint][1](stage)
    with recorded() as sent:
        answer = call()
    assert answer.status_code < 400, (endpoint, answer.text)
    answer.close()
    return sent


def test_each_endpoint_is_known_here(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == ENDPOINTS.keys()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_endpoint_sends_few_statements(stages: Mapping[int, Stage], endpoint: str) -> None:
    few, many = (statements_of(stages[size], endpoint) for size in (FEW, MANY))
    told = "\n".join(statement.sql for statement in many)
    assert len(many) <= len(few), f"more things take more statements:\n{told}"
    assert len(many) <= ENDPOINTS[endpoint][0], f"{len(many)} statements:\n{told}"
    # The text of SQL depends on what is asked, not on the values: SQLAlchemy finds it compiled.
    assert [statement.sql for statement in many if statement.compiled] == []
