"""Addresses by the names that providers give them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from config.providers import PROVIDERS, Provider
from config.settings import Settings, SettingsError
from tests.running import ROOT

URLS = {
    "DATABASE_URL": "postgres://me@db.test:5432/name?sslmode=require",
    "REDIS_URL": "rediss://:word@cache.test:6380",
    "AMQP_URL": "amqps://me:word@mq.test/vhost",
}


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda it: f"{it.setting}: {it.name}")
def test_each_name_is_read(provider: Provider) -> None:
    field = provider.setting.lower()
    url = URLS[provider.setting]
    expected = getattr(Settings.load({provider.setting: url}), field)
    for variable in provider.variables:
        name = variable.replace("*", "AMBER")
        assert getattr(Settings.load({name: url}), field) == expected
        assert getattr(Settings.load({name: ""}), field) is None


def test_our_own_name_comes_first() -> None:
    own = {"REDIS_URL": "redis://own.test:6379", "REDISCLOUD_URL": URLS["REDIS_URL"]}
    assert Settings.load(own).redis_url == own["REDIS_URL"]
    colours = {f"HEROKU_POSTGRESQL_{name}_URL": "postgres://x.test/x" for name in ("RED", "PINK")}
    settings = Settings.load({"DATABASE_URL": URLS["DATABASE_URL"], **colours})
    assert settings.database_url == ("postgresql+psycopg2://me@db.test:5432/name?sslmode=require")


@pytest.mark.parametrize(
    "names",
    [
        ("HEROKU_POSTGRESQL_PINK_URL", "HEROKU_POSTGRESQL_RED_URL"),
        ("REDISCLOUD_URL", "REDISGREEN_URL"),
        ("CLOUDAMQP_URL", "RABBITMQ_BIGWIG_URL"),
    ],
)
def test_it_is_not_guessed_which_of_several_is_meant(names: tuple[str, str]) -> None:
    url = next(URLS[it.setting] for it in PROVIDERS if any(v[:8] == names[0][:8] for v in it[2]))
    with pytest.raises(SettingsError, match=f"Not set, and several.*{', '.join(names)}"):
        Settings.load(dict.fromkeys(names, url))


def test_the_better_of_the_names_of_one_provider_is_taken() -> None:
    names = {
        "RABBITMQ_BIGWIG_TX_URL": "amqp://tx.test/v",
        "RABBITMQ_BIGWIG_URL": "amqp://all.test/v",
    }
    assert Settings.load(names).amqp_url == "amqp://all.test/v"


def test_a_wrong_value_is_told_by_the_name_that_it_has() -> None:
    with pytest.raises(SettingsError, match=r"^CLOUDAMQP_URL: Not an AMQP URL"):
        Settings.load({"CLOUDAMQP_URL": "https://mq.test"})


def test_the_log_says_whose_name_was_taken_and_no_secret() -> None:
    program = (
        "from config.logging import configure_logging; from config.settings import Settings\n"
        "configure_logging(Settings.load()); configure_logging(Settings.load())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "REDISGREEN_URL": URLS["REDIS_URL"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == "REDIS_URL is taken from REDISGREEN_URL"


@pytest.mark.parametrize(
    ("url", "added"),
    [
        ("rediss://:word@cache.test:6380", "?ssl_cert_reqs=none&ssl_check_hostname=false"),
        ("rediss://cache.test/0?protocol=3", "&ssl_cert_reqs=none&ssl_check_hostname=false"),
        ("redis://cache.test:6379", ""),
        ("rediss://cache.test?ssl_cert_reqs=required", ""),
    ],
)
def test_certificates_of_a_redis_may_be_left_unlooked_at(url: str, added: str) -> None:
    assert Settings.load({"REDIS_URL": url}).redis_url == url
    told = Settings.load({"REDIS_URL": url, "REDIS_TLS_VERIFY": "false"})
    assert told.redis_url == url + added


def test_the_guide_names_each_of_them() -> None:
    guide = (ROOT / "docs" / "procfile.md").read_text()
    rows = [
        f"| `{it.setting}` | {it.name} | {', '.join(f'`{name}`' for name in it.variables)} |"
        for it in PROVIDERS
    ]
    assert "\n".join(rows) in guide
