"""Procfile, image, compose.yml and Kubernetes mean the same processes, settings and ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.groups.server import SERVICES
from config.reference import reference
from config.settings import Settings
from tests.kubernetes.building import OVERLAYS, Document, build, copy_manifests, of_kind, ours
from tests.running import ROOT

KNOWN = {name for name, _, _ in reference()}
# Settings by which somebody could get in: of the kinds that config/masking.py takes out of texts.
SECRET = {
    name
    for name in KNOWN
    if re.search(r"(_URLS?|_KEY|_TOKEN|_DSN|_HEADERS)$", name)
    and name not in ("BASE_URL", "TLS_KEY")
}


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Document]]:
    folder = copy_manifests(tmp_path_factory.mktemp("manifests"))
    return {
        overlay: build(folder / overlay / "release") + build(folder / overlay)
        for overlay in OVERLAYS
    }


def procfile() -> set[str]:
    text = (ROOT / "Procfile").read_text(encoding="utf-8")
    return set(re.findall(r"^(\w+):", text, re.MULTILINE))


def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))["services"]
    return {name: one for name, one in loaded.items() if one["image"].startswith("signpost")}


def environs(documents: list[Document]) -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """Of each of our containers the variables by name, and those that come from the ConfigMap."""
    maps = of_kind(documents, "ConfigMap")
    for component, container in ours(documents).items():
        plain = {
            name
            for source in container.get("envFrom", ())
            for name in maps[source["configMapRef"]["name"]]["data"]
        }
        yield component, {one["name"]: one for one in container["env"]}, plain


def test_all_run_the_processes_of_the_procfile(clusters: dict[str, list[Document]]) -> None:
    # `web` is there as its two services.
    wanted = procfile() - {"web"}
    assert wanted == {"release", *SERVICES, "clicks", "worker"}
    assert {one["command"][0] for one in compose().values()} == wanted | {"gateway"}
    for documents in clusters.values():
        containers = ours(documents)
        assert {name: one["args"] for name, one in containers.items()} == {
            name: [name] for name in wanted
        }


def test_health_of_the_image_knows_every_process() -> None:
    text = (ROOT / "deploy" / "containers" / "healthy").read_text(encoding="utf-8")
    kinds = set(re.findall(r'^    "([\w-]+)": "\w+",$', text, re.MULTILINE))
    assert procfile() - {"release"} <= kinds
    for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines():
        name, _, command = line.partition(": ")
        programs = {Path(word).name for word in command.split()}
        assert name == "release" or programs & kinds, f"{name} would be taken for something else"


def test_only_settings_that_exist_are_set(clusters: dict[str, list[Document]]) -> None:
    for name, one in compose().items():
        assert set(one["environment"]) <= KNOWN, name
    for documents in clusters.values():
        for component, variables, plain in environs(documents):
            assert set(variables) | plain <= KNOWN, component
    image = re.findall(r"^ENV (.*?)(?<!\\)$", dockerfile(), re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\b([A-Z_]+)=", image[-1]))
    assert named - KNOWN == {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def test_whatever_is_secret_comes_from_a_secret(clusters: dict[str, list[Document]]) -> None:
    assert {"DATABASE_URL", "AMQP_URL", "SECRET_KEY", "JWT_PRIVATE_KEY", "SENTRY_DSN"} <= SECRET
    for documents in clusters.values():
        for component, variables, plain in environs(documents):
            assert not plain & SECRET, component
            for name, variable in variables.items():
                assert (name in SECRET) == ("valueFrom" in variable), f"{component}: {name}"
                assert "secretKeyRef" in variable.get("valueFrom", {"secretKeyRef": 1})
    for name, one in compose().items():
        for setting in set(one["environment"]) & SECRET:
            assert re.search(r"\$\{\w+:\?", one["environment"][setting]), f"{name}: {setting}"


def test_each_has_the_secrets_that_it_needs_and_no_others(
    clusters: dict[str, list[Document]],
) -> None:
    for documents in clusters.values():
        by_component = {name: set(variables) for name, variables, _ in environs(documents)}
        assert {name for name, had in by_component.items() if "JWT_PRIVATE_KEY" in had} == {"api"}
        for name in ("redirect", "api", "clicks", "worker"):
            assert {"DATABASE_URL", "REDIS_URL", "AMQP_URL", "SECRET_KEY"} <= by_component[name]
        assert not by_component["release"] & {"SECRET_KEY", "REDIS_URL", "AMQP_URL"}


def test_ports_agree(clusters: dict[str, list[Document]]) -> None:
    port = Settings.load({}).port
    assert f"PORT={port}" in dockerfile() and f"EXPOSE {port}" in dockerfile()
    servers = ",".join(
        compose()["gateway"]["environment"][name]
        for name in ("GATEWAY_REDIRECT_SERVERS", "GATEWAY_API_SERVERS")
    )
    assert {place.rpartition(":")[2] for place in servers.split(",")} == {str(port)}
    metrics = {one["environment"].get("METRICS_PORT") for one in compose().values()} - {None}
    for documents in clusters.values():
        (told,) = {
            int(one["data"]["METRICS_PORT"]) for one in of_kind(documents, "ConfigMap").values()
        }
        assert metrics == {told}
        for component, container in ours(documents).items():
            named = {one["name"]: one["containerPort"] for one in container.get("ports", ())}
            web = {"http": port} if component in SERVICES else {}
            assert named == (web | {"metrics": told} if component != "release" else {})


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")
