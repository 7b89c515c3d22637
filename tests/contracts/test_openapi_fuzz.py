"""Requests made from the description: no answer is a 5xx, and none is undocumented."""

from __future__ import annotations

from typing import Any

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.caller import Caller

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def test_answers_are_as_described(app: Flask, caller: Caller) -> None:
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    fuzzed = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if not goes_on_for_ever(operation):
            fuzz(operation, caller)
            fuzzed += 1
    assert fuzzed > 20


def goes_on_for_ever(operation: Any) -> bool:
    return "text/event-stream" in str(operation.definition.raw["responses"])


def fuzz(operation: Any, caller: Caller) -> None:
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {caller.key}"}, checks=CHECKS)

    check()
