"""deploy/kubernetes/: what a cluster takes, that everything named is there, and that pods can do
no more than they must."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from api.operations.gateway.configuration import API_SEGMENTS, API_STREAMS
from config.settings import Settings
from tests.kubernetes.building import FOREIGN, Document, build, of_kind, ours, pods
from tests.kubernetes.schemas import is_taken
from tests.running import ROOT

VERSION = "1.31"
WEB = ("redirect", "api")
COMPONENTS = (*WEB, "clicks", "worker", "release")


def labels_of(documents: list[Document]) -> list[dict[str, str]]:
    return [template["metadata"]["labels"] for _, template in pods(documents)]


def fits(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector of a NetworkPolicy means pods with these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ())
    )


def test_kubernetes_takes_every_document(documents: list[Document]) -> None:
    for one in documents:
        if one["kind"] not in FOREIGN:
            assert is_taken(one, VERSION)
    wrong = of_kind(documents, "Deployment")["signpost-api"] | {"spec": {"replica": 2}}
    assert not is_taken(wrong, VERSION)
    names = [(one["kind"], one["metadata"]["name"]) for one in documents]
    assert len(set(names)) == len(names)
    spaces = {one["metadata"].get("namespace") for one in documents if one["kind"] != "Namespace"}
    assert spaces == {"signpost"}


def test_prometheus_operator_knows_every_field(production: list[Document]) -> None:
    # https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.ServiceMonitor
    (monitor,) = of_kind(production, "ServiceMonitor").values()
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"jobLabel", "selector", "endpoints"}
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "interval", "authorization"}
    services = of_kind(production, "Service")
    asked = {
        name: one["metadata"]["labels"][monitor["spec"]["jobLabel"]]
        for name, one in services.items()
        if fits(monitor["spec"]["selector"], one["metadata"]["labels"])
        and endpoint["port"] in {port["name"] for port in one["spec"]["ports"]}
    }
    assert set(asked) == {f"signpost-{name}" for name in (*WEB, "clicks", "worker")}
    known = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text(encoding="utf-8"))
    assert set(asked.values()) == {job["job_name"] for job in known["scrape_configs"]}


def test_every_pod_is_restricted(documents: list[Document]) -> None:
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    (namespace,) = of_kind(documents, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, template in pods(documents):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            allowed = container["securityContext"]
            assert allowed["allowPrivilegeEscalation"] is False
            assert allowed["capabilities"] == {"drop": ["ALL"]}
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory"}
    assert {
        c["securityContext"].get("readOnlyRootFilesystem") for c in ours(documents).values()
    } == {True}


def test_volumes_of_our_pods_are_what_the_image_writes(documents: list[Document]) -> None:
    for container in ours(documents).values():
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts == {"/var/lib/signpost", "/tmp"}
    (account,) = of_kind(documents, "ServiceAccount").values()
    assert account["automountServiceAccountToken"] is False


def test_probes_are_those_that_the_documentation_gives(documents: list[Document]) -> None:
    text = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
    probes = re.findall(r"^(\w+Probe):\s+(\{.*\})$", text, re.MULTILINE)
    *web, (_, beat) = [(name, yaml.safe_load(value)) for name, value in probes]
    containers = ours(documents)
    for component in WEB:
        for name, wanted in web:
            assert containers[component][name] == wanted, f"{component}: {name}"
    for component in ("clicks", "worker"):
        found = containers[component]["livenessProbe"]
        assert found["exec"]["command"] == [*beat["exec"]["command"][:-1], component]
        assert found["periodSeconds"] == beat["periodSeconds"]
        assert "readinessProbe" not in containers[component]


def test_pods_have_the_time_to_ship_their_clicks(documents: list[Document]) -> None:
    settings = Settings.load({})
    grace = {
        template["metadata"]["labels"].get("app.kubernetes.io/component"): template["spec"].get(
            "terminationGracePeriodSeconds", 30
        )
        for _, template in pods(documents)
    }
    for component in WEB:
        *_, pause = ours(documents)[component]["lifecycle"]["preStop"]["exec"]["command"]
        served = settings.gunicorn_graceful_timeout_seconds + settings.amqp_timeout_seconds
        assert grace[component] > int(pause) + served
    assert grace["clicks"] > settings.ingest_statement_timeout_seconds
    assert grace["worker"] > settings.fetch_seconds


def test_nobody_reaches_anybody_without_a_policy(documents: list[Document]) -> None:
    policies = of_kind(documents, "NetworkPolicy")
    nothing = policies["signpost-nothing"]["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = {
        one["app.kubernetes.io/component"]: one
        for one in labels_of(documents)
        if "app.kubernetes.io/component" in one
    }
    assert set(labels) == set(COMPONENTS)

    def ports(component: str, direction: str) -> set[int]:
        return {
            port["port"]
            for policy in policies.values()
            if fits(policy["spec"]["podSelector"], labels[component])
            for rule in policy["spec"].get(direction, ())
            for port in rule["ports"]
        }

    data = {5432, 6379, 5672}
    for component in WEB:
        assert ports(component, "ingress") == {8000, 9100}
    for component in ("clicks", "worker"):
        assert ports(component, "ingress") == {9100}
    assert ports("redirect", "egress") == ports("clicks", "egress") == {53} | data
    assert ports("api", "egress") == ports("worker", "egress") == {53, 80, 443} | data
    assert ports("release", "egress") == {53, 5432}
    for name, policy in policies.items():
        for rule in (*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())):
            assert rule.get("from") or rule.get("to"), f"{name} lets in everybody"


def test_ingress_sends_requests_where_the_gateway_does(documents: list[Document]) -> None:
    services = of_kind(documents, "Service")
    hosts, paths = set(), {}
    for ingress in of_kind(documents, "Ingress").values():
        (rule,) = ingress["spec"]["rules"]
        assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
        hosts.add(rule["host"])
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            known = {port["name"] for port in services[service["name"]]["spec"]["ports"]}
            assert service["port"]["name"] in known
            assert path["path"] not in paths
            paths[path["path"]] = service["name"], ingress["metadata"]["annotations"]
    assert len(hosts) == 1
    redirect, _ = paths.pop("/")
    assert redirect == "signpost-redirect"
    assert {service for service, _ in paths.values()} == {"signpost-api"}
    # Bodies of any size are let through where the gateway lets them.
    streams = {path for path in paths if re.search(API_STREAMS, path)}
    assert streams == {"/api/v1/exports", "/api/v1/imports"}
    for path in streams:
        _, told = paths.pop(path)
        assert told["nginx.ingress.kubernetes.io/proxy-body-size"] == "0"
        assert told["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off"
    assert set(paths) == {f"/{segment}" for segment in API_SEGMENTS}
    assert {told["nginx.ingress.kubernetes.io/proxy-buffering"] for _, told in paths.values()} == {
        "off"
    }


def test_whatever_selects_pods_finds_some(documents: list[Document]) -> None:
    all_labels = labels_of(documents)
    for name, one in of_kind(documents, "Service").items():
        assert any(one["spec"]["selector"].items() <= labels.items() for labels in all_labels), name
    budgets = of_kind(documents, "PodDisruptionBudget")
    assert set(budgets) == {f"signpost-{name}" for name in (*WEB, "clicks", "worker")}
    for name, one in budgets.items():
        assert any(fits(one["spec"]["selector"], labels) for labels in all_labels), name
    for name, one in of_kind(documents, "Deployment").items():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert fits(one["spec"]["selector"], labels), name
        for spread in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert fits(spread["labelSelector"], labels), name


def test_autoscalers_find_what_they_scale(production: list[Document]) -> None:
    scaled = [*of_kind(production, "HorizontalPodAutoscaler", "ScaledObject").values()]
    targets = [one["spec"]["scaleTargetRef"] for one in scaled]
    assert {one["name"] for one in targets} == {
        "signpost-redirect",
        "signpost-api",
        "signpost-clicks",
    }
    assert len(targets) == 3, "two autoscalers of the same pods would work against one another"
    deployments = of_kind(production, "Deployment")
    for target in targets:
        assert target["kind"] == "Deployment"
        # Or each `kubectl apply` would undo what the autoscaler has done.
        assert "replicas" not in deployments[target["name"]]["spec"]


def test_all_run_the_same_image(documents: list[Document]) -> None:
    images = {container["image"] for container in ours(documents).values()}
    assert len(images) == 1
    assert set(ours(documents)) == set(COMPONENTS)


def test_what_is_named_is_there(documents: list[Document]) -> None:
    maps = of_kind(documents, "ConfigMap")
    for container in ours(documents).values():
        for source in container.get("envFrom", ()):
            assert source["configMapRef"]["name"] in maps
    named = {
        (container["name"], variable["valueFrom"]["secretKeyRef"]["name"])
        for _, template in pods(documents)
        for container in template["spec"]["containers"]
        for variable in container["env"]
        if "valueFrom" in variable
    }
    assert {name for _, name in named} == {"signpost"}


def test_spool_may_have_a_disk_of_its_own(manifests: Path) -> None:
    overlay = manifests / "overlays" / "production"
    text = (overlay / "kustomization.yaml").read_text(encoding="utf-8")
    changed = text.replace("  # - ../../kept-spool", "  - ../../kept-spool")
    assert changed != text
    (overlay / "kustomization.yaml").write_text(changed)
    try:
        documents = build(overlay)
    finally:
        (overlay / "kustomization.yaml").write_text(text)
    sets = of_kind(documents, "StatefulSet")
    assert set(sets) == {"signpost-redirect"}
    assert "signpost-redirect" not in of_kind(documents, "Deployment")
    redirect = sets["signpost-redirect"]
    assert is_taken(redirect, VERSION)
    (claim,) = redirect["spec"]["volumeClaimTemplates"]
    mounts = {
        it["name"] for it in redirect["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    volumes = {it["name"] for it in redirect["spec"]["template"]["spec"]["volumes"]}
    assert mounts == volumes | {claim["metadata"]["name"]}
    autoscaler = of_kind(documents, "HorizontalPodAutoscaler")["signpost-redirect"]
    assert autoscaler["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
