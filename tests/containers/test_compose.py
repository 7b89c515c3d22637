"""compose.yml: what the Compose Specification allows, and what our own processes need."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.reference import reference
from config.settings import Settings
from tests.running import ROOT

COMPOSE = ROOT / "compose.yml"
OURS = ("gateway", "redirect-1", "redirect-2", "api", "clicks", "worker", "release")
# What .env may leave out, and then has these values.
OPTIONAL = {"SIGNPOST_VERSION", "GATEWAY_DEFAULT_CERTIFICATE", "CERTIFICATES"}
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?:(:[?-])([^}]*))?\}")


@pytest.fixture(scope="module")
def system() -> dict[str, Any]:
    """The file, its anchors resolved."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """What .env has."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "containers" / "make-secrets")],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(line.split("=", 1) for line in made.stdout.splitlines())


def refused(*paths: Path) -> set[str]:
    """The files that the Compose Specification's own schema does not allow."""
    program = str(Path(sys.prefix, "bin", "check-jsonschema"))
    command = [program, "--builtin-schema", "vendor.compose-spec", "--output-format", "json"]
    done = subprocess.run([*command, *map(str, paths)], check=False, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (done.returncode == 0) == (told["status"] == "ok"), done.stdout
    assert told["parse_errors"] == [], done.stdout
    return {error["filename"] for error in told["errors"]}


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_specification_allows_it(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yml"
    wrong.write_text(COMPOSE.read_text(encoding="utf-8").replace("    read_only:", "    readonly:"))
    assert refused(COMPOSE, wrong) == {str(wrong)}


def test_whatever_is_named_is_there(system: dict[str, Any]) -> None:
    services = system["services"]
    for name, service in services.items():
        assert set(service["networks"]) <= set(system["networks"]), name
        assert set(service.get("secrets", ())) <= set(system["secrets"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), volume
            elif not source.startswith("${"):
                assert source in system["volumes"], volume
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"], f"{name} waits for {other}"
            else:
                assert other == "release"
    used = {
        str(volume).split(":")[0] for one in services.values() for volume in one.get("volumes", ())
    }
    assert set(system["volumes"]) <= used


def test_whole_system_is_there(system: dict[str, Any]) -> None:
    others = {"postgres", "postgres-replica", "redis", "rabbitmq", "prometheus", "grafana"}
    assert set(system["services"]) == {*OURS, *others}
    for name in OURS:
        (command,) = system["services"][name]["command"]
        assert command == re.sub(r"-\d$", "", name)


def test_all_settings_are_ours_and_can_be_used(
    system: dict[str, Any], secrets: dict[str, str]
) -> None:
    given = secrets | {"BASE_URL": "https://go.example.com"}
    known = {name for name, _, _ in reference()}
    for name in OURS:
        environ = system["services"][name]["environment"]
        assert set(environ) <= known, name
        filled = {
            key: _VARIABLE.sub(lambda found: given.get(found[1], ""), str(value))
            for key, value in environ.items()
        }
        settings = Settings.load(filled)
        assert settings.metrics_port == (None if name == "gateway" else 9100)


def test_no_secret_has_a_default(system: dict[str, Any], secrets: dict[str, str]) -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    for name, how, default in _VARIABLE.findall(text):
        assert (how == ":-") == (name in OPTIONAL), f"{name} {how} {default}"
    needed = {name for name, how, _ in _VARIABLE.findall(text) if how == ":?"} - {"BASE_URL"}
    assert needed | {"METRICS_TOKEN"} == set(secrets)
    for name, service in system["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASS|SECRET|TOKEN|_KEY|_URL", key) and "://prom" not in str(value):
                assert "${" in str(value), f"{name}: {key}"


def test_every_container_can_do_little(system: dict[str, Any]) -> None:
    for name, service in system["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory"}, name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service and "cap_add" not in service
        assert "latest" not in service["image"] or name in OURS
        assert "healthcheck" in service and "logging" in service
        for port in service.get("ports", ()):
            assert name == "gateway" or port.startswith("127.0.0.1:"), port
    for name in OURS:
        service = system["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_gateway_finds_its_servers_and_they_believe_it(system: dict[str, Any]) -> None:
    services, environ = system["services"], system["services"]["gateway"]["environment"]

    def place(name: str) -> str:
        return str(services[name]["networks"]["front"]["ipv4_address"])

    redirects = [place(name) for name in services if name.startswith("redirect-")]
    assert environ["GATEWAY_REDIRECT_SERVERS"] == ",".join(f"{it}:8000" for it in redirects)
    assert environ["GATEWAY_API_SERVERS"] == f"{place('api')}:8000"
    assert services["api"]["environment"]["TRUSTED_PROXIES"] == place("gateway")
    (config,) = system["networks"]["front"]["ipam"]["config"]
    taken = [*redirects, place("api"), place("gateway")]
    assert len(set(taken)) == 4
    # The first is the host's; low ones may be given to others.
    assert all(ip_address(it) in ip_network(config["subnet"]) for it in taken)


def test_who_is_not_to_reach_data_does_not(system: dict[str, Any]) -> None:
    networks = {name: set(service["networks"]) for name, service in system["services"].items()}
    assert system["networks"]["data"]["internal"] and system["networks"]["monitoring"]["internal"]
    assert networks["gateway"] == {"front"}
    assert not networks["prometheus"] & {"data", "front"}
    assert not networks["grafana"] & {"data", "front"}
    for name in ("postgres", "postgres-replica", "redis", "rabbitmq"):
        assert networks[name] == {"data"}


def test_clicks_are_shipped_before_the_engine_loses_its_patience(system: dict[str, Any]) -> None:
    settings = Settings.load({})
    needed = settings.gunicorn_graceful_timeout_seconds + settings.amqp_timeout_seconds
    for name in ("redirect-1", "redirect-2", "api", "clicks", "worker"):
        assert seconds(system["services"][name]["stop_grace_period"]) > needed


def test_prometheus_asks_every_process(system: dict[str, Any]) -> None:
    mine = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text(encoding="utf-8"))
    theirs = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {one["job_name"]: one for one in mine["scrape_configs"]}
    assert set(jobs) == {one["job_name"] for one in theirs["scrape_configs"]}
    asked = {
        target
        for job in jobs.values()
        for one in job["static_configs"]
        for target in one["targets"]
    }
    told = {
        f"{name}:{service['environment']['METRICS_PORT']}"
        for name, service in system["services"].items()
        if name in OURS and name not in ("gateway", "release")
    }
    assert asked == told
    (secret,) = system["services"]["prometheus"]["secrets"]
    token = {job["authorization"]["credentials_file"] for job in jobs.values()}
    assert token == {f"/run/secrets/{secret}"}
    assert system["secrets"][secret] == {"environment": "METRICS_TOKEN"}
    assert {"signpost-web", "signpost-clicks", "signpost-worker"} == set(jobs)
    for name in asked:
        assert "monitoring" in system["services"][name.partition(":")[0]]["networks"]
