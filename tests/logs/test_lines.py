"""What a process writes as its log: one object a line, and nothing secret in it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.kinds import log_levels
from config.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[2]
_BEGIN = """
import logging, sys, threading, warnings
from config.logging import configure_logging, quieten, write_request_line
from config.settings import Settings
configure_logging(Settings.load())
"""


def environ_of(settings: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LOG_FORMAT": "json"} | settings


def lines_of(program: str, **settings: str) -> list[dict[str, Any]]:
    """The log of a process that runs a program."""
    ran = subprocess.run(
        [sys.executable, "-c", _BEGIN + program],
        check=False,
        cwd=ROOT,
        env=environ_of(settings),
        capture_output=True,
        text=True,
        timeout=30,
    )
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_lines_of_libraries_tell_no_secret_in_text_argument_field_or_traceback() -> None:
    lines = lines_of(
        """
log = logging.getLogger("requests.sessions")
log.warning("https://anna:hunter2@example.com failed")
log.warning("sent %s and %r", "Bearer abcdef123456", {"password": "hunter2"})
log.warning("key sp_live_hunter2 of %s", "203.0.113.77")
log.warning("a field", extra={"dependency": "postgresql://u:hunter2@db.test/x"})
def ask(headers):
    raise ValueError(f"refused: {headers}")
try:
    ask({"X-Api-Key": "sp_live_hunter2"})
except ValueError:
    log.exception("asking failed")
import structlog
structlog.get_logger("ours").warning("also ours", token={"client_secret": "hunter2"})
warnings.warn("sp_refresh_hunter2 is old")
threading.Thread(target=ask, args=("amqp://u:hunter2@mq.test",)).start()
"""
    )
    text = json.dumps(lines)
    assert "hunter2" not in text
    assert "abcdef123456" not in text  # pragma: allowlist secret
    assert "203.0.113.77" not in text
    assert [line["event"] for line in lines[:4]] == [
        "https://***@example.com failed",
        "sent Bearer *** and {'password': ***}",
        "key sp_live_*** of 203.0.113.x",
        "a field",
    ]
    assert lines[3]["dependency"] == "postgresql://***@db.test/x"
    assert "ValueError: refused: {'X-Api-Key': ***" in lines[4]["exception"]
    assert lines[5]["event"] == "also ours"
    assert "sp_refresh_*** is old" in lines[6]["event"]
    assert lines[7]["event"] == "uncaught exception"
    assert {line["level"] for line in lines} == {"warning", "error", "critical"}
    assert all(re.fullmatch(r"20\d\d-.*Z", line["timestamp"]) for line in lines)


def test_levels_of_single_loggers_count_also_below_them_and_over_our_own_quiet() -> None:
    lines = lines_of(
        """
quieten("pika", logging.CRITICAL)
quieten("celery", logging.WARNING)
for name in ("api.core.database.pools", "api.links", "gunicorn.error", "pika", "celery"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger(name).log(level, "told")
""",
        LOG_LEVEL="WARNING",
        LOG_LEVELS="api.core.database=DEBUG, gunicorn=ERROR, pika=INFO",
    )
    told = [(line["logger"], line["level"]) for line in lines]
    assert told == [
        ("api.core.database.pools", "debug"),
        ("api.core.database.pools", "info"),
        ("api.core.database.pools", "warning"),
        ("api.core.database.pools", "error"),
        ("api.links", "warning"),
        ("api.links", "error"),
        ("gunicorn.error", "error"),
        ("pika", "info"),
        ("pika", "warning"),
        ("pika", "error"),
        ("celery", "warning"),
        ("celery", "error"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LOG_LEVEL", "LOUD", "Must be one of: DEBUG, INFO, WARNING, ERROR, CRITICAL."),
        ("LOG_LEVELS", "api=LOUD", "Must be one of: DEBUG, INFO, WARNING, ERROR, CRITICAL."),
        ("LOG_LEVELS", "api", "Must be a list of `logger=LEVEL`, and 'api' is not."),
        ("LOG_LEVELS", "=INFO", "Must be a list of `logger=LEVEL`, and '=INFO' is not."),
        ("LOG_REDIRECT_SAMPLE", "1.5", "less than or equal to 1"),
        ("LOG_REDIRECT_SAMPLE", "nan", "Not a finite number."),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_line(name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.load({"DATABASE_URL": "postgresql://db.test/x", name: value})
    assert str(raised.value).startswith(f"{name}: ")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_levels_are_read_as_pairs() -> None:
    assert log_levels(" a.b=INFO ,c=ERROR,") == (("a.b", "INFO"), ("c", "ERROR"))
    assert log_levels("") == ()


def test_in_a_terminal_a_line_is_short_aligned_and_has_no_secret() -> None:
    program = """
import structlog
log = logging.getLogger("api.links.service")
log.info("a link of sp_live_hunter2 was made")
logging.getLogger("gunicorn.error").warning("a worker is slow")
facts = {"method": "GET", "route": "/api/v1/links", "status": 200, "duration_ms": 3.14159,
         "principal": "key:7", "workspace": 5, "request_id": "abcdefgh", "trace_id": None}
write_request_line(logging.INFO, facts)
write_request_line(logging.INFO, facts | {"status": 503, "method": "DELETE"})
try:
    raise ValueError("amqp://u:hunter2@mq.test")
except ValueError:
    log.exception("it failed")
"""
    told, terminal = pty.openpty()
    command = [sys.executable, "-c", _BEGIN + program]
    environ = environ_of({"LOG_FORMAT": "auto"})
    subprocess.run(command, check=True, cwd=ROOT, env=environ, stderr=terminal, timeout=30)
    os.close(terminal)
    seen = os.read(told, 65_536).decode()
    os.close(told)
    assert "hunter2" not in seen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen).replace("\r", "")
    assert plain != seen  # there is colour
    lines = plain.splitlines()
    for line in lines[:5]:
        assert re.match(r"\d\d:\d\d:\d\d [a-z ]{8} \S", line), line
    assert lines[0][9:] == "info     a link of sp_live_*** was made"
    assert lines[1][9:] == "warning  a worker is slow logger=gunicorn"
    assert lines[2][9:] == "info     GET    200      3.1 ms  /api/v1/links principal=key:7"
    assert lines[3][9:].startswith("info     DELETE 503      3.1 ms  /api/v1/links principal=key:7")
    assert "request_id=abcdefgh" in lines[3]
    assert lines[-1] == "ValueError: amqp://***@mq.test"
