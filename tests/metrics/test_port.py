"""The port of `METRICS_PORT` by itself."""

from __future__ import annotations

import urllib.request

import pytest

from api.operations.serving import MetricsPort
from tests.running import wait_until
from tests.services.network import free_ports


@pytest.mark.parametrize(("host", "named"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_both_kinds_of_addresses_are_served(host: str, named: str) -> None:
    port = free_ports(1)[0]
    served = MetricsPort(host, port, None, lambda: b"all\n")
    served.start()
    try:
        answers: list[bytes] = []

        def asked() -> bool:
            try:
                with urllib.request.urlopen(f"http://{named}:{port}/metrics", timeout=5) as answer:
                    answers.append(answer.read())
            except OSError:
                return False
            return True

        wait_until(asked, seconds=5)
        assert answers == [b"all\n"]
    finally:
        served.stop()
