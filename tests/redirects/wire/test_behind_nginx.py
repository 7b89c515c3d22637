"""Both servers behind an nginx that keeps its connections to them, as most installations do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redirects.wire.corpus_fields import CASES
from tests.redirects.wire.pair import Pair, follow_up
from tests.redirects.wire.talk import PROXY, STRANGER, Message
from tests.services import nginx
from tests.services.network import free_ports

_CONFIG = """
    upstream {name} {{ server 127.0.0.1:{upstream}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        large_client_header_buffers 4 16k;
        location / {{
            proxy_pass http://{name};
            proxy_http_version 1.1;
            proxy_bind {address};
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            # Our client says that it has nothing more to say, and still listens.
            proxy_ignore_client_abort on;
        }}
    }}
"""

# nginx answers these with a body and nothing else, as HTTP had it in 1991: no client could tell
# that it is redirected, though the click is counted.
_NO_HEADERS = ("request-line/http-0.9", "request-line/no-version-but-a-space")


@pytest.fixture
def pair_behind_nginx(pair: Pair, tmp_path: Path) -> Iterator[Pair]:
    if not nginx.available():
        pytest.skip(f"no nginx: {nginx.INSTALL}")
    ports = free_ports(2)
    sites = [
        _CONFIG.format(name=side.name, upstream=side.server.port, port=port, address=PROXY)
        for side, port in zip(pair.sides, ports, strict=True)
    ]
    server = nginx.PrivateNginx(tmp_path / "nginx", "".join(sites), ports)
    server.start()
    for side, port in zip(pair.sides, ports, strict=True):
        side.port = port
    try:
        yield pair
    finally:
        for side in pair.sides:
            side.port = side.server.port
        server.stop()


def test_nobody_can_tell_the_servers_apart(pair_behind_nginx: Pair) -> None:
    """Each over a connection of its own to nginx, but over shared ones from there: an answer that
    reached the wrong visitor would have the wrong request id."""
    cases = [case for name, case in CASES.items() if name not in _NO_HEADERS]
    messages = [Message((case,), STRANGER, follow_up()) for case in cases]

    seen = pair_behind_nginx.compare_together(messages)

    ours = [seen for seen in seen if seen.answers and seen.answers[-1].code == 302]
    assert len(ours) > len(messages) / 2


def test_visitors_address_is_what_nginx_says(pair_behind_nginx: Pair) -> None:
    case = CASES["forwarding/for"]

    seen = pair_behind_nginx.compare(Message((case,), STRANGER, follow_up()))

    # What a visitor claims of himself does not count.
    assert {click.address for click in seen.clicks} == {STRANGER}
