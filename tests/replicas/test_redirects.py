"""Links that change while replicas lag: nobody is led to where a link led before."""

from __future__ import annotations

from typing import Any

from flask import Flask

from tests.caller import Caller
from tests.redirects.visitor import Visitor
from tests.replicas.site import Site, reads_of, replicas_of, within


def place(visitor: Visitor, link: dict[str, Any]) -> str:
    return str(visitor.follow(link).headers.get("Location"))


def is_led_by_replicas(site: Site, caller: Caller, app: Flask) -> bool:
    """Whether a process comes to find links on replicas: once the primary was asked after it began
    to hear of changes."""

    def found_one() -> bool:
        before = reads_of(app)
        link = caller.create_link()
        site.servers.settle()
        site.redis.let_time_pass(f"sign.test/{link['slug']}")
        assert site.visitor(app).follow(link).status_code == 302
        return reads_of(app) > before

    return within(5, found_one)


def test_links_are_found_on_replicas(site: Site) -> None:
    app = site.process()
    assert is_led_by_replicas(site, site.caller(app), app)


def test_a_change_is_seen_past_replicas_by_who_has_heard_of_it(site: Site) -> None:
    writer, reader, late = site.process(), site.process(), site.process()
    caller = site.caller(writer)
    link = caller.create_link("https://example.com/old")
    site.servers.settle()
    key = f"sign.test/{link['slug']}"
    site.redis.let_time_pass(key)
    assert place(site.visitor(reader), link).endswith("/old")
    site.pause()

    caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})

    # Without the tombstone, as for a key that Redis has dropped to make room.
    site.redis.client.delete(f"signpost:copies:v1:link:{key}")
    assert within(1, lambda: place(site.visitor(reader), link).endswith("/new"))
    assert replicas_of(reader).to_primary["not fresh enough"]
    for app in (reader, late, writer) * 2:
        assert place(site.visitor(app), link).endswith("/new")
    assert b"/new" in (site.redis.held(key) or b"")


def test_who_has_not_heard_of_a_change_finds_its_trace_in_redis(site: Site) -> None:
    writer, deaf = site.process(), site.process()
    caller = site.caller(writer)
    link = caller.create_link("https://example.com/old")
    gone = caller.create_link("https://example.com/gone")
    assert is_led_by_replicas(site, caller, deaf)
    deaf.extensions["signpost"].evictions._listeners.clear()
    site.pause()

    caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
    caller.delete(f"/links/{gone['id']}")

    assert place(site.visitor(deaf), link).endswith("/new")
    assert site.visitor(deaf).follow(gone).status_code == 410
    assert site.redis.held(f"sign.test/{link['slug']}") == b"-"


def test_a_link_that_was_made_now_is_found_past_replicas(site: Site) -> None:
    writer, reader = site.process(), site.process()
    caller = site.caller(writer)
    site.pause()
    assert site.visitor(reader).open("/just-made").status_code == 404

    link = caller.create_link(slug="just-made")

    assert within(1, lambda: site.visitor(reader).follow(link).status_code == 302)


def test_while_evictions_do_not_arrive_the_primary_is_asked(site: Site) -> None:
    app = site.process()
    caller = site.caller(app)
    link = caller.create_link("https://example.com/old")
    site.pause()
    app.extensions["signpost"].evictions._synced(False)
    caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
    site.redis.let_time_pass(f"sign.test/{link['slug']}")

    before = reads_of(app)
    assert place(site.visitor(app), link).endswith("/new")
    assert reads_of(app) == before
