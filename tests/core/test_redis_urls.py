"""How REDIS_URL names a server or a cluster."""

from __future__ import annotations

import pytest

from api.jobs.application import make_celery
from config import redis_urls
from config.settings import Settings, SettingsError

CLUSTER = "redis+cluster://a.test:7000,b.test:7001"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("redis://a.test:7000/3", "redis://a.test:7000/3"),
        ("unix:///run/a,b.sock?db=2", "unix:///run/a,b.sock?db=2"),
        ("redis://a.test:7000,b.test:7001", CLUSTER),
        ("redis://a.test:7000,b.test:7001/0", f"{CLUSTER}/0"),
        (f"{CLUSTER}/0?client_name=me", f"{CLUSTER}/0?client_name=me"),
        ("redis+cluster://one.test", "redis+cluster://one.test"),
        ("rediss://me:p%40ss@a.test,b.test/0", "rediss+cluster://me:p%40ss@a.test,b.test/0"),
    ],
)
def test_several_nodes_are_a_cluster(given: str, meant: str) -> None:
    found = Settings.load({"REDIS_URL": given}).redis_url
    assert found == meant
    assert redis_urls.is_cluster(found) == ("+cluster" in meant)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://a.test,,b.test", "no name"),
        ("redis+cluster://", "no name"),
        (f"{CLUSTER}/3", "database"),
        (f"{CLUSTER}?db=2", "database"),
        ("redis://a.test:x,b.test", "Not a Redis URL"),
        ("redis+sentinel://a.test", "Not a Redis URL"),
    ],
)
def test_what_is_no_cluster_is_refused_in_one_line(url: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=rf"^REDIS_URL: .*{complaint}.*$"):
        Settings.load({"REDIS_URL": url})


def test_every_node_is_reached_as_the_whole_is() -> None:
    url = "rediss+cluster://me:p%40ss@a.test:7000,[::1]:7001/0?ssl_cert_reqs=none"
    assert redis_urls.node_urls(url) == [
        "rediss://me:p%40ss@a.test:7000/0?ssl_cert_reqs=none",
        "rediss://me:p%40ss@[::1]:7001/0?ssl_cert_reqs=none",
    ]
    assert redis_urls.url_at(url, "10.0.0.7", 7003) == (
        "rediss://me:p%40ss@10.0.0.7:7003/0?ssl_cert_reqs=none"
    )
    assert redis_urls.url_at(CLUSTER, "fd00::7", 7003) == "redis://[fd00::7]:7003"


def test_jobs_in_a_cluster_are_refused_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^FETCH_TITLES: .*Cluster.*AMQP_URL.*$"):
        Settings.load({"REDIS_URL": CLUSTER, "FETCH_TITLES": "true"})
    with pytest.raises(SettingsError, match=r"^REDIS_URL: .*Cluster.*AMQP_URL.*$"):
        make_celery(Settings.load({"REDIS_URL": CLUSTER}))
    assert make_celery(
        Settings.load({"REDIS_URL": CLUSTER, "AMQP_URL": "amqp://guest:guest@mq.test/"})
    )
