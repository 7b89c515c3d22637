"""`deploy/kubernetes/autoscaling/`: what Kubernetes and KEDA take, and what we really tell."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from api.core.load_reporter import LoadReporter
from api.operations.fleet import SEGMENTS_PER_CONSUMER
from bench.autoscale_sim import POLICY
from config.settings import Settings
from tests.conftest import OPERATOR
from tests.kubernetes.schemas import is_taken
from tests.running import ROOT

FOLDER = ROOT / "deploy" / "kubernetes" / "autoscaling"
# https://keda.sh/docs/latest/reference/scaledobject-spec/
SCALED_OBJECT = set(
    "scaleTargetRef pollingInterval cooldownPeriod initialCooldownPeriod idleReplicaCount "
    "minReplicaCount maxReplicaCount fallback advanced triggers".split()
)
# https://keda.sh/docs/latest/scalers/
TRIGGERS = {
    "rabbitmq": (
        {"queueName", "mode", "value"},
        {"host", "protocol", "vhostName", "activationValue", "excludeUnacknowledged"},
    ),
    "prometheus": (
        {"serverAddress", "query", "threshold"},
        {"activationThreshold", "namespace", "ignoreNullValues", "unsafeSsl"},
    ),
}


def texts() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.yaml")]


def of_kind(kind: str) -> list[dict[str, Any]]:
    everything = [one for text in texts() for one in yaml.safe_load_all(text)]
    return [one for one in everything if one.get("kind") == kind]


def autoscaler(name: str) -> dict[str, Any]:
    (found,) = [
        one
        for one in of_kind("HorizontalPodAutoscaler")
        if one["metadata"]["name"] == f"signpost-{name}"
    ]
    return found


@pytest.mark.parametrize("name", ["redirect", "api"])
def test_kubernetes_takes_the_autoscaler(name: str) -> None:
    hpa = autoscaler(name)
    assert is_taken(hpa, "1.31")
    wrong = hpa | {"spec": hpa["spec"] | {"maxReplica": 3}}
    assert not is_taken(wrong, "1.31")


def test_keda_knows_every_field() -> None:
    objects = of_kind("ScaledObject")
    names = {one["metadata"]["name"] for one in objects}
    assert names == {"signpost-redirect", "signpost-api", "signpost-clicks"}
    secrets = {one["metadata"]["name"] for one in of_kind("TriggerAuthentication")}
    for one in objects:
        assert one["apiVersion"] == "keda.sh/v1alpha1"
        assert set(one["spec"]) <= SCALED_OBJECT
        assert one["spec"]["minReplicaCount"] < one["spec"]["maxReplicaCount"]
        behaviour = one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        hpa = autoscaler("redirect")
        assert is_taken(hpa | {"spec": hpa["spec"] | {"behavior": behaviour}}, "1.31")
        for trigger in one["spec"]["triggers"]:
            needed, allowed = TRIGGERS[trigger["type"]]
            assert needed <= set(trigger["metadata"]) <= needed | allowed
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
            if "authenticationRef" in trigger:
                assert trigger["authenticationRef"]["name"] in secrets


def test_queue_and_length_are_those_of_the_code() -> None:
    (clicks,) = [one for one in of_kind("ScaledObject") if "clicks" in one["metadata"]["name"]]
    asked = clicks["spec"]["triggers"][0]["metadata"]
    assert asked["queueName"] == Settings.load({}).amqp_queue
    assert int(asked["value"]) == SEGMENTS_PER_CONSUMER


def test_times_are_those_of_the_simulation() -> None:
    hpa = autoscaler("redirect")
    assert autoscaler("api")["spec"]["behavior"] == hpa["spec"]["behavior"]
    up, down = hpa["spec"]["behavior"]["scaleUp"], hpa["spec"]["behavior"]["scaleDown"]
    assert up["stabilizationWindowSeconds"] == POLICY.grow_after_seconds
    assert down["stabilizationWindowSeconds"] == POLICY.shrink_after_seconds
    assert up["policies"][0]["periodSeconds"] == POLICY.grow_again_seconds
    assert down["policies"][0]["periodSeconds"] == POLICY.shrink_again_seconds
    assert up["policies"][0]["value"] == (POLICY.growth - 1) * 100
    assert down["policies"][0]["value"] == POLICY.shrinkage * 100
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (POLICY.low, POLICY.high)


def test_what_is_asked_for_and_documented_is_told(app: Flask, settings: Settings) -> None:
    reporter = LoadReporter(settings.load_path, 1000, lambda: (3, 1))
    try:
        reporter.write()
        answer = app.test_client().get("/metrics", headers=OPERATOR)
    finally:
        reporter.stop()
    told = {family.name for family in text_string_to_metric_families(answer.text)}

    asked = "".join(texts())
    page = (ROOT / "docs" / "autoscaling.md").read_text(encoding="utf-8")
    documented = {
        name.removesuffix("_total") for name in re.findall(r"^\| `(signpost_\w+)", page, re.M)
    }
    assert set(re.findall(r"signpost_\w+", asked)) == {"signpost_load"}
    assert "signpost_load" in documented
    assert documented <= told
    mine = {
        name
        for name in told
        if re.match(r"signpost_(load|busy|starved|queue_delay|requests_in)", name)
    }
    assert mine <= documented
