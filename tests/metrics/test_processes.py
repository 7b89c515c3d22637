"""Counts of a real start: all its processes together, whoever dies meanwhile."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from config.settings import Settings
from tests.metrics.scrape import TOKEN, Scrape, fetch
from tests.running import BROWSER, RunningSignpost, children_of, running, wait_until
from tests.services.network import free_ports

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

LINK = "/api/v1/links/<id:link_id>"


@pytest.fixture(scope="module")
def own_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, own_port: int) -> Iterator[RunningSignpost]:
    home = tmp_path_factory.mktemp("metrics") / "home"
    with running(home, METRICS_TOKEN=TOKEN, METRICS_PORT=str(own_port)) as started:
        wait_until(lambda: len(workers_of(started)) == 2)
        yield started


@pytest.fixture
def link(site: RunningSignpost) -> Any:
    return site.call("POST", "/api/v1/links", {"url": "https://example.com/"})


def workers_of(site: RunningSignpost) -> list[int]:
    masters = [number for number, line in site.children().items() if "gunicorn" in line]
    return [number for master in masters for number in children_of(master)]


def visit(site: RunningSignpost, path: str, times: int = 1, *, keep: bool = False) -> None:
    """Ask as a browser does; each time over a connection of its own unless it is to be kept."""
    headers = {"User-Agent": BROWSER} | ({} if keep else {"Connection": "close"})
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    for _ in range(times):
        connection.request("GET", path, headers=headers)
        connection.getresponse().read()
        if not keep:
            connection.close()
    connection.close()


def redirects(site: RunningSignpost) -> float:
    return Scrape(site.port)("signpost_redirects_total")


def test_all_workers_are_added_up(site: RunningSignpost, link: Any) -> None:
    before = Scrape(site.port)
    for _ in range(40):
        site.call("GET", f"/api/v1/links/{link['id']}")
        visit(site, f"/{link['slug']}")
    visit(site, f"/{link['slug']}", 200, keep=True)

    def grown(name: str, **labels: str) -> float:
        return now(name, **labels) - before(name, **labels)

    now = Scrape(site.port)
    wait_until(lambda: redirects(site) - before("signpost_redirects_total") == 240, 5)
    wait_until(
        lambda: (
            Scrape(site.port)("signpost_requests_total", route=LINK)
            - before("signpost_requests_total", route=LINK)
            == 40
        ),
        5,
    )
    now = Scrape(site.port)
    assert grown("signpost_requests_total", method="GET", route=LINK, status="200") == 40
    assert grown("signpost_request_duration_seconds_count", method="GET", route=LINK) == 40
    assert grown("signpost_redirects_total", status="302") == 240
    # The second visit over a connection that is kept is answered before it is parsed.
    assert grown("signpost_redirects_total", level="prepared") >= 190
    assert grown("signpost_redirect_duration_seconds_count") == 240
    by_flask = 240 - grown("signpost_redirects_total", level="prepared")
    assert grown("signpost_target_age_seconds_count") == by_flask
    assert now.families["signpost_redirect_duration_seconds"].type == "histogram"


def test_clicks_are_counted_by_the_consumer(site: RunningSignpost, link: Any) -> None:
    visit(site, f"/{link['slug']}", 20)
    wait_until(lambda: _all_counted(Scrape(site.port)), 20)
    now = Scrape(site.port)
    counted = now("signpost_ingest_clicks_total")
    assert counted >= 20
    assert now("signpost_click_delay_seconds_count") == counted
    assert now("signpost_click_delay_seconds_bucket", le="60.0") == counted
    assert now("signpost_ingest_duration_seconds_count", stage="write") > 0
    processes = now.labels("signpost_process_resident_memory_bytes", "process")
    assert {"web", "clicks"} <= processes <= {"web", "clicks", "worker"}
    assert now("signpost_dependency_up", dependency="redis") == 1


def _all_counted(now: Scrape) -> bool:
    visits = now("signpost_redirects_total", status="302")
    return now("signpost_ingest_clicks_total") == visits >= 20


def test_a_typed_password_is_a_visit_but_no_slow_redirect(site: RunningSignpost) -> None:
    link = site.call("POST", "/api/v1/links", {"url": "https://a.example/", "password": "sesame"})
    before = Scrape(site.port)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("POST", f"/{link['slug']}", "password=sesame", form)
    assert connection.getresponse().status == 303
    connection.close()
    wait_until(lambda: redirects(site) - before("signpost_redirects_total") == 1, 5)
    took = "signpost_redirect_duration_seconds_count"
    assert Scrape(site.port)(took) == before(took)


def test_what_alerts_count_is_told_before_it_happens(site: RunningSignpost) -> None:
    """`increase()` knows nothing of a series that begins at one."""
    now = Scrape(site.port)
    told = now.labels("signpost_redirects_total", "status")
    assert {"500", "503"} <= told
    assert now.labels("signpost_worker_exits_total", "reason") == {"ended", "killed", "timeout"}


def test_nothing_goes_back_when_workers_die_and_their_files_do_not_pile_up(
    site: RunningSignpost, link: Any
) -> None:
    visit(site, f"/{link['slug']}", 50)
    wait_until(lambda: redirects(site) >= 50)
    before, files = Scrape(site.port), list((site.home / "metrics").glob("*.db"))
    for _ in range(3):
        victims = set(workers_of(site))
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        wait_until(lambda victims=victims: len(set(workers_of(site)) - victims) == 2)
        wait_until(lambda: fetch_quietly(site.port))

    now = Scrape(site.port)
    for name in ("signpost_redirects_total", "signpost_requests_total"):
        assert now(name) >= before(name)
    killed = ("signpost_worker_exits_total", {"reason": "killed"})
    wait_until(
        lambda: Scrape(site.port)(killed[0], **killed[1]) - before(killed[0], **killed[1]) == 6, 5
    )
    assert now("signpost_worker_starts_total") - before("signpost_worker_starts_total") == 6
    wait_until(lambda: len(list((site.home / "metrics").glob("*.db"))) <= len(files) + 4, 5)
    pids = {str(pid) for pid in workers_of(site)}
    wait_until(
        lambda: (
            {
                sample.labels["pid"]
                for sample in Scrape(site.port).samples
                if sample.name == "signpost_process_resident_memory_bytes"
                and sample.labels["process"] == "web"
            }
            == pids
        ),
        5,
    )


def test_a_reload_ends_workers_in_order(site: RunningSignpost) -> None:
    ended = ("signpost_worker_exits_total", {"reason": "ended"})
    before, old = Scrape(site.port)(ended[0], **ended[1]), set(workers_of(site))
    (master,) = (number for number, line in site.children().items() if "gunicorn" in line)
    os.kill(master, signal.SIGHUP)
    wait_until(lambda: len(set(workers_of(site)) - old) == 2 and not old & set(workers_of(site)))
    wait_until(lambda: Scrape(site.port)(ended[0], **ended[1]) - before == 2, 5)


def test_paths_and_methods_make_no_series(site: RunningSignpost) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    count = len(Scrape(site.port).samples)
    for number in range(60):
        for method, path in (("GET", f"/api/v1/nothing-{number}"), (f"M{number}", "/api/v1/links")):
            connection.request(method, path)
            connection.getresponse().read()
    connection.close()
    wait_until(lambda: Scrape(site.port)("signpost_requests_total", route="unmatched") >= 60, 5)
    now = Scrape(site.port)
    assert len(now.samples) - count < 60
    assert now.labels("signpost_requests_total", "method") <= {
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
    }  # fmt: skip


def test_only_who_knows_the_token_may_look(site: RunningSignpost, own_port: int) -> None:
    # Whoever served it may just have ended; another takes it over within seconds.
    wait_until(lambda: fetch_quietly(own_port), 20)
    for port in (site.port, own_port):
        assert fetch(port, token=None)[0] == 401
        assert fetch(port, token="another token of these tests")[0] == 401
        assert fetch(port)[0] == 200
    assert fetch(own_port, "/api/v1/links")[0] == 404


def test_the_own_port_outlives_who_serves_it(site: RunningSignpost, own_port: int) -> None:
    for number in [*workers_of(site), *_consumers(site)]:
        os.kill(number, signal.SIGKILL)
    wait_until(lambda: fetch_quietly(own_port), 20)
    assert "signpost_worker_starts_total" in fetch(own_port)[1]


def fetch_quietly(port: int) -> bool:
    try:
        return fetch(port)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _consumers(site: RunningSignpost) -> list[int]:
    return [number for number, line in site.children().items() if "consume-clicks" in line]


def test_without_anybody_who_looks_nothing_is_counted(
    environ: dict[str, str], tmp_path: Path
) -> None:
    home = {"SIGNPOST_HOME": str(tmp_path), "METRICS_TOKEN": ""}
    settings = Settings.load(environ | home)
    assert not settings.measures
    app = create_app(settings)
    app.extensions["signpost"].start_worker()
    try:
        assert app.extensions["signpost.fast"]().note_turn is None
        assert app.test_client().get("/nothing").status_code == 404
        assert not settings.metrics_path.exists()
    finally:
        app.extensions["signpost"].stop_worker()
