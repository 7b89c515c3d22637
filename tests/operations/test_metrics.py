"""`/metrics`: who may see it, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.core.limits import AddressLimits, TooManyTries
from tests.conftest import METRICS_TOKEN, OPERATOR
from tests.operations.test_health import make_app


def test_without_the_setting_there_are_no_metrics(tmp_path: Path) -> None:
    answer = make_app(tmp_path, METRICS_TOKEN="").test_client().get("/metrics")
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_only_who_knows_the_token_is_answered(tmp_path: Path) -> None:
    client = make_app(tmp_path).test_client()
    assert client.get("/metrics").status_code == 401
    for wrong in ("Bearer wrong", f"Basic {METRICS_TOKEN}", "Bearer", "Bearer \u00fc"):
        answer = client.get("/metrics", headers={"Authorization": wrong})
        assert answer.status_code == 401, wrong
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_metrics_tell_how_the_click_pipeline_is(tmp_path: Path) -> None:
    app = make_app(tmp_path, AMQP_URL="amqp://127.0.0.1:1/")
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "0000000000001-left.ready").write_bytes(b"x" * 1000)
    (folder / "lost").write_bytes(b'{"from":"","to":"","clicks":7}\n')

    answer = app.test_client().get("/metrics", headers=OPERATOR)

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert values["signpost_spool_bytes"] == 1000
    assert values["signpost_spool_bound_bytes"] == 1 << 30
    assert values["signpost_spool_oldest_click_age_seconds"] > 1e9
    assert values["signpost_clicks_lost_total"] == 7
    assert values["signpost_segments_confirmed_total"] == 0
    assert values["signpost_broker_up"] == 0


def test_metrics_tell_how_limits_were_decided(tmp_path: Path) -> None:
    app = make_app(tmp_path, REDIS_URL="", SIGN_IN_TRIES_PER_MINUTE="1")
    limits = app.extensions["signpost.services"][AddressLimits]
    limits.hit("sign-in", "192.0.2.1")
    for _ in range(3):
        with pytest.raises(TooManyTries):
            limits.hit("sign-in", "192.0.2.1")

    answer = app.test_client().get("/metrics", headers=OPERATOR)

    found = {
        (sample.labels["limit"], sample.labels["outcome"], sample.labels["counted"]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "signpost_limit_decisions_total"
    }
    assert found == {("sign-in", "allowed", "process"): 1, ("sign-in", "refused", "process"): 3}
