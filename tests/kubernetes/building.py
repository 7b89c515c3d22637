"""What `kubectl apply -k` would send to a cluster, made by the real kustomize."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.running import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("overlays/kind", "overlays/production")
# Of what Kubernetes itself has no schema: https://keda.sh, https://prometheus-operator.dev
FOREIGN = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}

Document = dict[str, Any]


def copy_manifests(folder: Path) -> Path:
    """The manifests, with the secrets that the overlay `kind` takes from a file."""
    copy = Path(shutil.copytree(FOLDER, folder / "kubernetes", dirs_exist_ok=True))
    made = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "containers" / "make-secrets"), "kind"],
        check=True,
        capture_output=True,
    )
    (copy / "overlays" / "kind" / "secrets.env").write_bytes(made.stdout)
    return copy


def build(path: Path) -> list[Document]:
    """The documents of a kustomization."""
    program = str(Path(sys.prefix, "bin", "kubectl"))
    done = subprocess.run(
        [program, "kustomize", str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns of what it will not take for long"
    return list(yaml.safe_load_all(done.stdout))


def of_kind(documents: list[Document], *kinds: str) -> dict[str, Document]:
    """Those of these kinds, by name."""
    return {one["metadata"]["name"]: one for one in documents if one["kind"] in kinds}


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """The templates of pods, by the name of what makes them."""
    for one in documents:
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]


def ours(documents: list[Document]) -> dict[str, Document]:
    """The containers of our image, by component."""
    return {
        template["metadata"]["labels"]["app.kubernetes.io/component"]: container
        for _, template in pods(documents)
        for container in template["spec"]["containers"]
        if container["name"] == "signpost"
    }
