"""Addresses that ask for tokens too often."""

from __future__ import annotations

import secrets

from tests.limits.conftest import AppMaker


def test_requests_for_tokens_past_the_limit_are_refused(make: AppMaker) -> None:
    client = make(TOKEN_REQUESTS_PER_MINUTE="3").test_client()
    address = f"2001:db8:{secrets.randbits(16):x}:{secrets.randbits(16):x}::1"

    def ask(path: str = "/oauth/token", address: str = address) -> tuple[int, str | None]:
        form = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "no"}
        answer = client.post(path, data=form, environ_overrides={"REMOTE_ADDR": address})
        assert answer.content_type == "application/json"
        return answer.status_code, answer.headers.get("Retry-After")

    assert [ask()[0] for _ in range(3)] == [400] * 3
    assert ask() == (429, "60")
    assert ask("/oauth/device_authorization")[0] == 429
    assert ask(address="2001:db8:ffff:fffe::1")[0] == 400
    assert ask("/oauth/introspect")[0] != 429, "resource servers ask all the time"
