"""What is in the audit log stays: PostgreSQL refuses all else, and no event is lost silently."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from datetime import UTC, datetime

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.events import AuditEvent, Change, Thing
from config.settings import Settings
from tests.caller import Caller
from tests.conftest import OPERATOR
from tests.statements import recorded


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'link.read'",
        "UPDATE audit_events SET action = 'link.read' WHERE false",
        "DELETE FROM audit_events",
        "DELETE FROM audit_events WHERE id = 0",
        "TRUNCATE audit_events",
        "TRUNCATE audit_events, workspaces CASCADE",
        "INSERT INTO audit_events (id, at, action, actor_kind)"
        " SELECT id, at, action, actor_kind FROM audit_events LIMIT 1"
        " ON CONFLICT (id) DO UPDATE SET action = 'link.read'",
        "MERGE INTO audit_events USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    ],
)
@pytest.mark.parametrize("mode", ["origin", "replica"])
def test_no_event_can_be_changed_or_deleted(
    caller: Caller, db: Database, statement: str, mode: str
) -> None:
    caller.create_link()
    told = caller.get("/audit-events").json
    with pytest.raises(ProgrammingError, match="append-only"), db.write_directory() as session:
        # In the mode of a replica ordinary triggers are silent.
        session.execute(text(f"SET LOCAL session_replication_role = {mode}"))
        # While a workspace is erased its events may go, and statements that find none are taken.
        session.execute(text("UPDATE workspace_erasures SET finished_at = now()"))
        session.execute(text(statement))
    assert caller.get("/audit-events").json == told


def test_event_that_cannot_be_written_is_in_the_log_of_errors(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*arguments: object) -> None:
        raise psycopg2.OperationalError("the disk is full")

    monkeypatch.setattr("api.audit.store.insert_events", away)
    with caplog.at_level(logging.ERROR, "api.audit"):
        link = caller.create_link()
    monkeypatch.undo()
    assert caller.get(f"/links/{link['id']}").status_code == 200
    assert (caller.get("/audit-events").json or {})["data"] == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    facts = json.loads(record.getMessage().partition(": ")[2])
    assert facts["action"] == "link.create"
    assert facts["target_id"] == link["id"]
    assert facts["workspace_id"] == caller.workspace_id
    assert facts["actor_kind"] == "key"
    assert facts["address"] == "127.0.0.1"
    assert facts["request_id"]
    answer = caller.app.test_client().get("/metrics", headers=OPERATOR)
    (lost,) = re.findall(r"signpost_audit_events_lost_total (\d+\.0)", answer.text)
    assert float(lost) >= 1


def test_processes_that_make_the_same_id_lose_no_event(
    caller: Caller, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter([5, 6, 5, 7])
    monkeypatch.setattr("api.audit.service.new_id", lambda slot: next(ids))
    log = AuditLog(db, settings.resolved_secret_key())
    first = AuditEvent("test.first", workspace_id=caller.workspace_id)
    assert log.record(first, [Change("test.first", None)] * 2)
    assert log.record(AuditEvent("test.second", workspace_id=caller.workspace_id))
    told = (caller.get("/audit-events").json or {})["data"]
    assert [(it["id"], it["action"]) for it in told] == [
        ("7", "test.second"),
        ("6", "test.first"),
        ("5", "test.first"),
    ]


def test_writers_do_not_wait_for_one_another(caller: Caller) -> None:
    def work() -> None:
        for _ in range(10):
            caller.create_link()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((caller.get("/audit-events?limit=100").json or {})["data"]) == 40


def test_any_number_of_events_takes_one_statement(
    caller: Caller, db: Database, settings: Settings
) -> None:
    log = AuditLog(db, settings.resolved_secret_key())
    many = AuditEvent("test.many", workspace_id=caller.workspace_id, details={"n": 200})
    with recorded() as sent:
        assert log.record(many, [Change("test.each", Thing("link", str(n))) for n in range(200)])
    assert len(sent) == 1
    told = (caller.get("/audit-events?limit=200").json or {})["data"]
    assert [event["target"]["id"] for event in told] == [str(n) for n in reversed(range(200))]
    assert {(event["action"], event["details"]["n"]) for event in told} == {("test.each", 200)}
    assert log.record(many, [])


def test_operator_reads_all_events_page_by_page(
    caller: Caller, other_caller: Caller, db: Database, settings: Settings
) -> None:
    log = AuditLog(db, settings.resolved_secret_key())
    begin = datetime.now(UTC)
    time.sleep(0.002)  # ids tell milliseconds
    workspaces = (caller.workspace_id, other_caller.workspace_id, None)
    log.record(
        AuditEvent("test.all"),
        [Change("test.all", Thing("link", str(n)), workspaces[n % 3]) for n in range(1_200)],
    )
    read = [it.target_id for it in log.stream_all(after=begin, before=None)]
    assert read == [str(n) for n in reversed(range(1_200))]
    of_none = [it.target_id for it in log.stream_all(after=begin, before=None, installation=True)]
    assert of_none == [str(n) for n in range(1_199, 0, -3)]
