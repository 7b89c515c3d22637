"""Who may see `/status`, and how much of it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import METRICS_TOKEN, OPERATOR
from tests.status.hours import AS_OPERATOR, HTML, make_app


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


@pytest.mark.parametrize(
    "settings", [{"STATUS_PAGE": "off"}, {"STATUS_PAGE": "private", "METRICS_TOKEN": ""}]
)
def test_where_nobody_may_see_it_there_is_no_page_and_nothing_is_sampled(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    app = make_app(tmp_path, **settings)
    answer = app.test_client().get("/status", headers=HTML)
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    app.extensions["signpost"].start_worker()
    app.extensions["signpost"].stop_worker()
    assert not (tmp_path / "status").exists()


def test_by_default_a_browser_asks_for_the_token(tmp_path: Path) -> None:
    client = make_app(tmp_path).test_client()
    answer = client.get("/status", headers=HTML)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Signpost status", charset="UTF-8"'
    answer = client.get("/status", headers=HTML, auth=AS_OPERATOR)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_a_script_may_send_the_token_as_it_does_for_metrics(tmp_path: Path) -> None:
    answer = make_app(tmp_path).test_client().get("/status", headers=OPERATOR)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"


@pytest.mark.parametrize("password", ["wrong", "", METRICS_TOKEN[:-1], "ü" * 20])
def test_a_wrong_password_opens_nothing(tmp_path: Path, password: str) -> None:
    client = make_app(tmp_path).test_client()
    assert client.get("/status", headers=basic(password)).status_code == 401


def guess(client: FlaskClient, password: str) -> int:
    return client.get("/status", headers=basic(password)).status_code


def test_who_guesses_is_refused_also_with_the_right_token(tmp_path: Path) -> None:
    client = make_app(tmp_path).test_client()
    assert [guess(client, f"wrong {number}") for number in range(5)] == [401, 401, 401, 429, 429]
    assert guess(client, METRICS_TOKEN) == 429


def test_a_page_that_is_left_open_is_no_guess(tmp_path: Path) -> None:
    client = make_app(tmp_path).test_client()
    assert {guess(client, METRICS_TOKEN) for _ in range(20)} == {200}
    # Behind the same address somebody guesses: the next right one counts again.
    assert [guess(client, "wrong"), guess(client, "wrong"), guess(client, "wrong")] == [
        401, 401, 429,
    ]  # fmt: skip
    assert guess(client, METRICS_TOKEN) == 429


def test_a_public_page_tells_states_and_no_reasons(tmp_path: Path) -> None:
    client = make_app(tmp_path, STATUS_PAGE="public").test_client()
    for answer in (client.get("/status", headers=HTML), client.get("/status")):
        assert answer.status_code == 200
        assert "PostgreSQL is away" in answer.text
        for kept in ("OperationalError", "reason", "DATABASE_URL", "127.0.0.1", "latency_ms"):
            assert kept not in answer.text, kept
    whole = client.get("/status", auth=AS_OPERATOR)
    assert whole.json is not None
    (database,) = [it for it in whole.json["dependencies"] if it["name"] == "database"]
    assert database["reason"]
    assert "DATABASE_URL" in whole.json["findings"][0]["advice"]


def test_a_public_page_without_a_token_knows_no_password(tmp_path: Path) -> None:
    client = make_app(tmp_path, STATUS_PAGE="public", METRICS_TOKEN="").test_client()
    answer = client.get("/status", headers=basic(""))
    assert answer.status_code == 200
    assert "reason" not in answer.text


def test_a_process_that_only_redirects_has_no_page(tmp_path: Path) -> None:
    client = make_app(tmp_path, SIGNPOST_SERVICES="redirect").test_client()
    assert client.get("/status", auth=AS_OPERATOR).status_code == 404
