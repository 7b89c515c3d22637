"""What stays of a text that may hold something secret or personal."""

from __future__ import annotations

import pytest

from config.masking import mask

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"  # pragma: allowlist secret


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key sp_live_abc-DEF_12 is old", "key sp_live_*** is old"),
        ("sp_invite_a sp_secret_b sp_refresh_c", "sp_invite_*** sp_secret_*** sp_refresh_***"),
        (
            "DETAIL:  Failing row contains (1, https://a.test/x (y), \\x2a).",
            "DETAIL:  Failing row contains (***).",
        ),
        ("Key (email, id)=(anna, 1) already exists.", "Key (email, id)=(***) already exists."),
        ("too many tries of 2001:db8:1:2::/64", "too many tries of 2001:db8:1::x/64"),
        ("Authorization: Bearer sp_live_x", "Authorization: ***"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': ***}"),
        ("they sent Bearer abcdef123456", "they sent Bearer ***"),
        (f"got {TOKEN}, which is old", "got ***, which is old"),
        ('{"password": "hun ter2", "url": "x"}', '{"password": ***, "url": "x"}'),
        ('"{\\"password\\": \\"abc\\"}"', '"{\\"password\\": ***}"'),
        ("user_code=ABCD-EFGH&x=1", "user_code=***&x=1"),
        ("code_verifier: abc", "code_verifier: ***"),
        ("password=abc&next=/", "password=***&next=/"),
        ("{'client_secret': 'a', 'b': 1}", "{'client_secret': ***, 'b': 1}"),
        ("Set-Cookie: browser=abc", "Set-Cookie: ***"),
        ("/cb?code=abc&state=x&iss=y", "/cb?code=***&state=***&iss=y"),
        ("amqp://guest:pw@mq.test:5672/%2F", "amqp://***@mq.test:5672/%2F"),
        ("https://abcdef@ingest.test/12", "https://***@ingest.test/12"),
        ("mail to anna.b+c@example.org now", "mail to ***@*** now"),
        ("Failing row contains (1, a\nb, c).\nx (y)", "Failing row contains (***).\nx (y)"),
        ("from 203.0.113.77:5000", "from 203.0.113.x:5000"),
        ("::ffff:203.0.113.77", "::ffff:203.0.113.x"),
        ("from [2001:db8:1:2::7]:443", "from [2001:db8:1::x]:443"),
        ("from 2001:0db8:0000:0000:0000:0000:0000:0007", "from 2001:db8:0::x"),
    ],
)
def test_secret_and_personal_things_go(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "link 7312 was created",
        "status code: 500, exit code=1, state: finished",
        "the token was not sent",
        "127.0.0.1:8000 and [::1]:8000, version 4.2.1",
        "2026-11-26T03:04:05.123Z",
        "at 12:34:56, a[1::2]",
        "https://example.com/a/b?c=d",
        "KeyError: 'code'",
    ],
)
def test_all_else_stays(text: str) -> None:
    assert mask(text) == text
