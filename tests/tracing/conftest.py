from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.live.conftest import Web, webs
from tests.tracing.receiver import Receiver, SpanSeen, receiving


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(port: int, method: str, path: str, **options: Any) -> Answer:
    """One request of a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, **options)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()


def traceparent(*, sampled: bool = True) -> tuple[str, str, str]:
    """A header, and its trace and span."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace}-{span}-0{int(sampled)}", trace, span


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(scope="session")
def web(
    environ: dict[str, str], receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    """A traced web server."""
    with webs(environ, tmp_path_factory.mktemp("web")) as make:
        yield make(**receiver.settings)


def served(spans: list[SpanSeen]) -> bool:
    """Whether the span of a request is among these: the last of its process."""
    return any(span.kind == "SERVER" for span in spans)
