"""A private Prometheus, and promtool: Debian's package `prometheus`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml

from api.core.embedded import processes
from tests.services import debian
from tests.services.network import free_ports

INSTALL = "apt-get install prometheus"
ABSENT = "no Prometheus"  # why tests are skipped
_START_SECONDS = 30.0


class PrivatePrometheus:
    """Asks each of `targets` (addresses, by job) once a second, and follows rules as often."""

    def __init__(
        self, folder: Path, targets: Mapping[str, str], rules: Sequence[Path], token: str
    ) -> None:
        self._folder = folder
        self._port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            {
                "job_name": job,
                "authorization": {"credentials": token},
                "static_configs": [{"targets": [address]}],
            }
            for job, address in targets.items()
        ]
        every_second = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config = {
            "global": every_second,
            "rule_files": [str(path) for path in rules],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        program = shutil.which("prometheus")
        assert program is not None, INSTALL
        self._process = processes.spawn(
            [
                program,
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=warn",
            ],
            death_signal=signal.SIGKILL,
            log=self._folder / "server.log",
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            complaint = (self._folder / "server.log").read_text()
            assert self._process.poll() is None and time.monotonic() < deadline, complaint
            time.sleep(0.1)

    def stop(self) -> None:
        """End it; nothing is kept."""
        if self._process is not None:
            processes.stop(self._process, [(signal.SIGTERM, 10.0)])

    def ask(self, query: str) -> list[dict[str, Any]]:
        """What a query answers now: series with `metric` and `value`."""
        return list(self._get("query", query=query)["result"])

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts that fire, by name."""
        return {
            alert["labels"]["alertname"]: alert
            for alert in self._get("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def targets(self) -> dict[str, str]:
        """The health of each job's target: `up`, `down` or `unknown`."""
        return {
            one["labels"]["job"]: one["health"] for one in self._get("targets")["activeTargets"]
        }

    def _get(self, name: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{name}"
        answer = requests.get(url, params=parameters, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def _ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._port}/-/ready"
            return requests.get(url, timeout=2).status_code == 200
        except requests.RequestException:
            return False


@contextmanager
def running(
    folder: Path, targets: Mapping[str, str], rules: Sequence[Path], token: str
) -> Iterator[PrivatePrometheus]:
    """A started Prometheus; it is stopped, whatever happens."""
    prometheus = PrivatePrometheus(folder, targets, rules, token)
    prometheus.start()
    try:
        yield prometheus
    finally:
        prometheus.stop()


def promtool(*arguments: str | Path) -> str:
    """What promtool says, in English; it must be content."""
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def available() -> bool:
    """Whether Prometheus is installed, after installing it where that may be done."""
    if shutil.which("promtool") is None and debian.can_install():
        debian.install("prometheus", ["prometheus.service"])
    return shutil.which("promtool") is not None
