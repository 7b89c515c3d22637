"""Who reads a replica, and who must not: what somebody wrote they see, in every process."""

from __future__ import annotations

import psycopg2
import pytest
from sqlalchemy import delete, exc, literal, select, text

from api.core.database.prepared import Command, Question
from api.core.database.routing import LATEST, Database
from api.links.models import Link
from tests.redirects.proxy import Relay
from tests.replicas.site import Site, at, reads_of, replicas_of, within

_ONE = Question(select(literal(1).label("one")))
_DELETE = Command(delete(Link).returning(Link.id))


def test_reads_are_spread_over_replicas_and_writes_are_not(site: Site) -> None:
    app = site.process()
    caller = site.caller(app)
    links = [caller.create_link() for _ in range(3)]
    site.servers.settle()
    before = [replica.reads for replica in replicas_of(app).replicas]

    def both_were_read() -> bool:
        assert caller.get(f"/links/{links[0]['id']}").status_code == 200
        now = [replica.reads for replica in replicas_of(app).replicas]
        return all(new > old for new, old in zip(now, before, strict=True))

    assert within(5, both_were_read)


def test_readers_cannot_write_wherever_they_read(site: Site) -> None:
    db: Database = site.process().extensions["signpost"].db
    for since in (None, LATEST):
        with (
            pytest.raises(exc.InternalError, match="read-only transaction"),
            db.read(5, since=since) as session,
        ):
            session.execute(text("DELETE FROM links"))
        with db.read_once(5) if since is None else db.read_shard_once("main") as connection:
            assert connection.ask_one(_ONE).one == 1
            with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
                connection._run(_DELETE, {})
            assert connection.ask_one(_ONE).one == 1
    with db.write(5) as session:
        session.execute(text("DELETE FROM links WHERE false"))


def test_what_a_workspace_wrote_it_sees_in_every_process(site: Site) -> None:
    one, other = site.process(), site.process()
    caller = site.caller(one)
    at(other, caller).get("/links")
    site.pause()
    link = caller.create_link("https://example.com/first")
    before = reads_of(other)

    for app in (one, other):
        theirs = at(app, caller)
        assert theirs.get(f"/links/{link['id']}").json == link
        assert [it["id"] for it in theirs.get("/links").json["data"]] == [link["id"]]
        assert theirs.get(f"/links/{link['id']}/stats").status_code == 200
    changed = at(other, caller).patch(f"/links/{link['id']}", {"title": "Second"}).json
    assert caller.get(f"/links/{link['id']}").json == changed
    assert caller.delete(f"/links/{link['id']}").status_code == 204
    assert at(other, caller).get(f"/links/{link['id']}").status_code == 404

    assert reads_of(other) == before
    assert replicas_of(other).to_primary["behind the subject"] >= 4


def test_when_replicas_have_caught_up_they_are_read_for_who_wrote(site: Site) -> None:
    app = site.process()
    caller = site.caller(app)
    link = caller.create_link()

    def read_of_a_replica() -> bool:
        before = reads_of(app)
        assert caller.get(f"/links/{link['id']}").json == link
        return reads_of(app) > before

    assert within(2, read_of_a_replica)


def test_who_wrote_nothing_reads_replicas_that_wait(site: Site) -> None:
    app = site.process()
    writer = site.caller(app)
    db: Database = app.extensions["signpost"].db
    site.pause()
    writer.create_link()
    before = reads_of(app)

    with db.read(5, workspace=1) as session:
        assert session.scalar(text("SELECT pg_is_in_recovery()"))
    with db.read(5, workspace=writer.workspace_id) as session:
        assert not session.scalar(text("SELECT pg_is_in_recovery()"))

    assert reads_of(app) == before + 1


def test_without_redis_the_primary_is_read_and_what_was_written_meanwhile_is_seen_after(
    site: Site,
) -> None:
    with Relay("127.0.0.1", site.redis.port) as relay:
        app, other = site.process(REDIS_URL=site.redis.at(relay.port)), site.process()
        caller = site.caller(app)
        at(other, caller).get("/links")
        site.pause()
        relay.cut()
        link = caller.create_link()
        before = reads_of(app)
        assert caller.get(f"/links/{link['id']}").json == link
        assert reads_of(app) == before
        assert replicas_of(app).to_primary["positions are unknown"]

        relay.restore()
        # Once it is told, which takes no longer than Redis is left alone after a failure.
        assert within(3, lambda: at(other, caller).get(f"/links/{link['id']}").json == link)


def test_rows_that_came_from_another_shard_are_waited_for(site: Site) -> None:
    app = site.process()
    db: Database = app.extensions["signpost"].db

    def reads_a_replica() -> bool:
        with db.read(5) as session:
            return bool(session.scalar(text("SELECT pg_is_in_recovery()")))

    assert within(3, reads_a_replica)
    site.pause()
    # As at the end of a move: the rows, then the map.
    site.servers.primary.ask("INSERT INTO shards (name, url) VALUES ('gone', NULL)")
    site.servers.primary.ask("UPDATE slot_map SET version = version + 1")
    try:
        assert within(3, lambda: not reads_a_replica())
        assert not any(reads_a_replica() for _ in range(10))
        for standby in site.servers.standbys:
            standby.resume_replay()
        assert within(3, reads_a_replica)
    finally:
        site.servers.primary.ask("DELETE FROM shards WHERE name = 'gone'")
        site.servers.primary.ask("UPDATE slot_map SET version = version + 1")


def test_a_redis_that_forgot_makes_readers_ask_the_primary(site: Site) -> None:
    app = site.process()
    site.caller(app)
    db: Database = app.extensions["signpost"].db

    site.redis.client.flushall()

    before = reads_of(app)
    for _ in range(3):
        with db.read(5, workspace=1) as session:
            session.scalar(text("SELECT 1"))
    assert reads_of(app) == before
