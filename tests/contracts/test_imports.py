"""What a process loads: one that only redirects starts fast and stays small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Schemas and their description, mapped tables, enrichment, statistics, migrations, images, other
# people's asyncio servers: none of it has to do with following a link.
HEAVY = (
    "alembic api.audit api.identity api.jobs api.limits api.links api.oauth api.operations.doctor "
    "api.stats api.titles api.transfers "
    "apispec authlib celery crawleruseragents cryptography.hazmat datasketches flask_caching "
    "flask_limiter flask_smorest geoip2fast joserfc limits marshmallow numpy pyarrow segno "
    "sqlalchemy.orm ua_parser urllib3 webargs zstandard"
).split()


def loaded(home: Path, database_url: str, **settings: str) -> set[str]:
    """The modules of a process that has imported the application with these settings."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ |= {"DATABASE_URL": database_url, "SIGNPOST_HOME": str(home)} | settings
    done = subprocess.run(
        [sys.executable, "-c", "import sys, wsgi; print(*sys.modules)"],
        check=True,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_redirects_load_nothing_of_the_management_side(tmp_path: Path, database_url: str) -> None:
    modules = loaded(tmp_path, database_url, SIGNPOST_SERVICES="redirect")
    assert [name for name in (*HEAVY, "pika") if name in modules] == []
    assert "api.redirects.routes" in modules


@pytest.mark.parametrize("services", ["redirect", "all"])
def test_broker_is_loaded_where_there_is_one(
    tmp_path: Path, database_url: str, services: str
) -> None:
    amqp = {"AMQP_URL": "amqp://guest:guest@127.0.0.1:5672/"}
    assert "pika" in loaded(tmp_path, database_url, SIGNPOST_SERVICES=services, **amqp)
    assert "pika" not in loaded(tmp_path, database_url, SIGNPOST_SERVICES=services)


def test_client_of_a_cluster_is_loaded_where_there_is_one(
    tmp_path: Path, database_url: str
) -> None:
    for url, expected in (
        ("redis://127.0.0.1:6379/0", False),
        ("redis://127.0.0.1:6379,127.0.0.1:6380", True),
    ):
        modules = loaded(tmp_path, database_url, SIGNPOST_SERVICES="redirect", REDIS_URL=url)
        assert ("api.core.redis_cluster" in modules) == expected


def test_what_queues_jobs_is_loaded_where_there_are_some(tmp_path: Path, database_url: str) -> None:
    redis = {"REDIS_URL": "redis://127.0.0.1:6379/0"}
    assert "celery" not in loaded(tmp_path, database_url, SIGNPOST_SERVICES="all", **redis)
    asked = {"FETCH_TITLES": "true", **redis}
    wishing = loaded(tmp_path, database_url, SIGNPOST_SERVICES="all", **asked)
    # Celery itself only when there is a job to send.
    assert "api.titles.service" in wishing and "celery" not in wishing
    assert "celery" not in loaded(tmp_path, database_url, SIGNPOST_SERVICES="redirect", **asked)


@pytest.mark.parametrize("services", ["redirect", "all"])
def test_what_tells_of_errors_is_loaded_where_somebody_is_told(
    tmp_path: Path, database_url: str, services: str
) -> None:
    dsn = {"SENTRY_DSN": "http://key@127.0.0.1:9/42"}
    assert "sentry_sdk" in loaded(tmp_path, database_url, SIGNPOST_SERVICES=services, **dsn)
    modules = loaded(tmp_path, database_url, SIGNPOST_SERVICES=services)
    assert "sentry_sdk" not in modules
    assert "api.core.reports.reporter" not in modules
