"""Every client of a server knows it by its authority and its name, and takes no other for it.

The servers speak TLS alone: what answers here has spoken it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from kombu.exceptions import OperationalError as KombuOperationalError
from sqlalchemy.exc import OperationalError

from api.clicks.queue.broker import FAILURES
from api.core.errors import Unavailable
from config.settings import Settings
from tests.scripting import run_script
from tests.services import redis
from tests.services.certificates import Authority
from tests.services.cluster import PrivateCluster
from tests.services.postgres import PrivatePostgres
from tests.services.rabbitmq import PrivateRabbitMQ
from tests.services.redis import PrivateRedis
from tests.transport.servers import DATABASE_CLIENTS, REDIS_CLIENTS, broker, copies, jobs, sessions

Client = Callable[[str], bool]
# What our clients raise where they do not take the server for what it should be.
REFUSALS = (Unavailable, OSError, OperationalError, KombuOperationalError, *FAILURES)


def answers(client: Client, url: str) -> bool:
    try:
        return client(url)
    except REFUSALS:
        return False


@pytest.mark.parametrize("client", DATABASE_CLIENTS, ids=lambda client: client.__name__)
def test_postgresql_is_known_by_its_authority_and_its_name(
    database: PrivatePostgres, authority: Authority, stranger: Authority, client: Client
) -> None:
    full = "sslmode=verify-full&sslrootcert="

    assert answers(client, database.url(full + str(authority.file)))
    assert not answers(client, database.url(full + str(stranger.file)))
    assert not answers(client, database.url(full + str(authority.file), host="127.0.0.1"))
    assert not answers(client, database.url("sslmode=disable"))


def test_only_verify_full_knows_postgresql_by_its_name(
    database: PrivatePostgres, authority: Authority, stranger: Authority
) -> None:
    """Why it is what we recommend: all others take any server of the authority for it, or any."""
    by_authority = f"sslmode=verify-ca&sslrootcert={authority.file}"

    assert answers(sessions, database.url(by_authority, host="127.0.0.1"))
    assert answers(sessions, database.url("sslmode=require", host="127.0.0.1"))


def test_postgresql_knows_a_client_by_its_certificate(
    database: PrivatePostgres, authority: Authority, stranger: Authority
) -> None:
    full = f"sslmode=verify-full&sslrootcert={authority.file}"
    assert answers(sessions, database.url(full))
    with psycopg2.connect(database.url(full)) as connection:
        connection.cursor().execute("CREATE ROLE guarded LOGIN")
    connection.close()

    seen = []
    for issuer, name in ((authority, "guarded"), (authority, "other"), (stranger, "guarded")):
        issued = issuer.issue(name)
        url = f"{full}&sslcert={issued.certificate}&sslkey={issued.key}"
        seen.append(answers(sessions, database.url(url, user="guarded")))

    assert seen == [True, False, False]
    assert not answers(sessions, database.url(full, user="guarded"))


@pytest.mark.parametrize(
    "client",
    [each for each in REDIS_CLIENTS if each is not jobs],
    ids=lambda client: client.__name__,
)
def test_nodes_of_a_cluster_are_known_and_know_us(cluster: PrivateCluster, client: Client) -> None:
    assert answers(client, cluster.url)


def test_no_other_cluster_is_taken_for_ours(
    cluster: PrivateCluster, authority: Authority, stranger: Authority
) -> None:
    assert not answers(copies, cluster.url.replace(str(authority.file), str(stranger.file)))
    assert not answers(copies, cluster.url.replace("rediss", "redis").split("?")[0])
    assert not answers(copies, cluster.url.replace("s3cret", "guessed"))
    assert answers(copies, cluster.url)


@pytest.mark.parametrize("client", REDIS_CLIENTS, ids=lambda client: client.__name__)
def test_redis_is_known_by_its_authority_and_its_name(
    cache: PrivateRedis, authority: Authority, stranger: Authority, client: Client
) -> None:
    right = f"ssl_ca_certs={authority.file}"

    assert answers(client, cache.url(right))
    assert not answers(client, cache.url(f"ssl_ca_certs={stranger.file}"))
    assert not answers(client, cache.url(right, host="127.0.0.1"))
    # Without a file, what the system trusts: never anybody.
    assert not answers(client, cache.url(""))
    assert not answers(client, cache.url("").replace("rediss:", "redis:"))


@pytest.mark.parametrize("client", REDIS_CLIENTS, ids=lambda client: client.__name__)
def test_redis_that_signs_its_own_certificate_is_taken_where_asked(
    cache: PrivateRedis, client: Client
) -> None:
    unknown = cache.url("", host="127.0.0.1").rstrip("?")
    settings = Settings.load({"REDIS_URL": unknown, "REDIS_TLS_VERIFY": "false"})
    assert not answers(client, unknown)
    assert answers(client, settings.redis_url or "")


@pytest.mark.parametrize("client", REDIS_CLIENTS, ids=lambda client: client.__name__)
def test_redis_knows_a_client_by_its_certificate(
    authority: Authority, tmp_path: Path, client: Client
) -> None:
    if not redis.available():
        pytest.skip(f"no Redis with TLS: {redis.INSTALL}")
    issued = authority.issue("client")
    right = f"ssl_ca_certs={authority.file}"
    server = PrivateRedis(tmp_path, authority, guarded=True)
    server.start()
    try:
        own = f"&ssl_certfile={issued.certificate}&ssl_keyfile={issued.key}"
        assert answers(client, server.url(right + own))
        assert not answers(client, server.url(right))
    finally:
        server.stop()


@pytest.mark.rabbitmq
@pytest.mark.parametrize("client", [broker, jobs], ids=lambda client: client.__name__)
def test_rabbitmq_is_known_by_its_authority_and_its_name(
    queue: PrivateRabbitMQ, authority: Authority, stranger: Authority, client: Client
) -> None:
    right = f"cacertfile={authority.file}"
    issued = authority.issue("client")

    assert answers(client, queue.tls_url(right))
    assert answers(
        client, queue.tls_url(f"{right}&certfile={issued.certificate}&keyfile={issued.key}")
    )
    assert answers(
        client, queue.tls_url(f"{right}&server_name_indication=localhost", host="127.0.0.1")
    )
    assert not answers(client, queue.tls_url(f"cacertfile={stranger.file}"))
    assert not answers(client, queue.tls_url(right, host="127.0.0.1"))
    assert not answers(client, queue.tls_url(""))
    assert not answers(client, queue.tls_url("").replace("amqps:", "amqp:"))


def test_doctor_tells_who_speaks_tls_and_for_how_long_certificates_last(
    database: PrivatePostgres, cache: PrivateRedis, authority: Authority, stranger: Authority
) -> None:
    def examine(trusted: Authority) -> dict[str, dict[str, str]]:
        environ = {
            "DATABASE_URL": database.url(f"sslmode=verify-full&sslrootcert={trusted.file}"),
            "REDIS_URL": cache.url(f"ssl_ca_certs={trusted.file}"),
            "SIGNPOST_HOME": str(authority.file.parent),
        }
        groups = ("--only", "connections", "--only", "certificates")
        done = run_script("doctor", "--json", *groups, env=environ)
        return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}

    found = examine(authority)
    assert ", TLSv1." in found["database main"]["found"]
    assert ", TLS; " in found["redis"]["found"]
    for name in ("certificate of main", "certificate of redis", "authority of DATABASE_URL"):
        assert found[name]["status"] == "ok", name
        assert " days" in found[name]["found"]
    found = examine(stranger)
    for name in ("database main", "redis"):
        assert found[name]["status"] == "wrong"
        assert "certificate" in found[name]["found"].lower()
        assert "Look at the certificates" in found[name]["advice"]
