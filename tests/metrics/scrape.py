"""What a running Signpost tells Prometheus."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

TOKEN = "a metrics token of these tests"


def fetch(port: int, path: str = "/metrics", token: str | None = TOKEN) -> tuple[int, str]:
    """Status and body of an answer, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Scrape:
    """All samples of one moment."""

    def __init__(self, port: int) -> None:
        status, text = fetch(port)
        assert status == 200, text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for it in self.families.values() for sample in it.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name with these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and _has(sample.labels, labels)
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())
