"""Requests made from the description, in every role: no answer is a 5xx, and none is undocumented.

Few of each here; for more: scripts/test -m slow tests/contracts/test_openapi_fuzz.py
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.exceptions import HTTPException

from api.core.principal import ROLES
from tests.caller import Caller
from tests.contracts.leaks import leaks_in
from tests.contracts.test_access import of_role_by_token

WORKSPACE = "workspace"  # a key that is nobody's
SOME, FEW, FEWEST, MANY = 6, 3, 2, 200


def tells_nothing(context: Any, response: Any, case: Any) -> None:
    """No error has in it what `leaks` knows."""
    del context
    # What was sent may be named again, and is anything.
    if response.status_code in (401, 403, 404, 500, 503):
        found = leaks_in(response.content, {})
        assert not found, f"{case.method} {case.formatted_path}: {found}"


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    tells_nothing,
]


@pytest.mark.parametrize("role", [WORKSPACE, *ROLES])
def test_answers_are_as_described(app: Flask, caller: Caller, role: str) -> None:
    member = caller if role == WORKSPACE else caller.with_role(role)
    assert fuzz_all(app, member.key, SOME if role == WORKSPACE else FEW) > 40


@pytest.mark.parametrize("role", ROLES)
def test_answers_to_tokens_are_as_described(app: Flask, caller: Caller, role: str) -> None:
    assert fuzz_all(app, of_role_by_token(caller, role).key, FEWEST) > 40


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("role", [WORKSPACE, *ROLES])
def test_many_answers_are_as_described(app: Flask, caller: Caller, role: str) -> None:
    member = caller if role == WORKSPACE else caller.with_role(role)
    assert fuzz_all(app, member.key, MANY) > 40


def fuzz_all(app: Flask, credential: str, examples: int) -> int:
    """Ask each operation; answers how many there are."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    fuzzed = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if not goes_on_for_ever(operation):
            fuzz(app, operation, credential, examples)
            fuzzed += 1
    return fuzzed


def goes_on_for_ever(operation: Any) -> bool:
    return "text/event-stream" in str(operation.definition.raw["responses"])


def leads_elsewhere(app: Flask, case: schemathesis.Case) -> bool:
    """Whether a slug that was thought of is the path of something else, such as `/metrics`."""
    if case.operation.path != "/{slug}":
        return False
    try:
        endpoint, _ = app.url_map.bind("localhost").match(case.formatted_path, case.method)
    except HTTPException:
        return False
    return not endpoint.startswith("redirects.")


def fuzz(app: Flask, operation: Any, credential: str, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: schemathesis.Case) -> None:
        assume(not leads_elsewhere(app, case))
        case.call_and_validate(headers={"Authorization": f"Bearer {credential}"}, checks=CHECKS)

    check()
