"""One alert in a running system: it fires, what its runbook says is done, and it ends."""

from __future__ import annotations

from tests.monitoring.watched import watched


def test_clicks_that_nobody_counts_are_told_of_until_a_consumer_is_started() -> None:
    with watched(broker=False, links=1) as system:
        link = system.links[0]
        system.end()

        system.stop_consumer()
        assert system.status(f"/{link['slug']}") == 302
        system.fire("SignpostSpoolNotDraining")

        system.start_consumer()
        system.end()
        system.until(lambda: system.clicks(link) == 1, 20)
