"""Whatever is sent to the protocol's addresses: it is refused in its words, and nothing breaks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.oauth.clients import GRANT_TYPES
from tests.caller import Caller
from tests.oauth.people import Flow, Person
from tests.oauth.programs import Program

_NAMES = (
    "grant_type client_id client_secret code code_verifier redirect_uri refresh_token scope state "
    "device_code token token_type_hint response_type code_challenge code_challenge_method "
    "user_code answer workspace next form_token email password response_mode request prompt"
).split()
_VALUES = st.one_of(
    st.sampled_from([*GRANT_TYPES, "code", "S256", "plain", "links:read", "eyJ.a.b", "", "none"]),
    st.text(max_size=60),
    st.sampled_from(["é", "\x00", '"', "\\", "x" * 5_000, "\ud800", "https://app.example.com/"]),
)
_PAIRS = st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES), max_size=8)
_FEW = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def encoded(pairs: Any) -> str:
    return urlencode(pairs, errors="surrogatepass")


@pytest.mark.parametrize(
    "path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/device_authorization"]
)
@_FEW
@given(pairs=_PAIRS, known=st.booleans(), raw=st.binary(max_size=30))
def test_endpoints_answer_in_the_protocols_words(
    path: str, pairs: Any, known: bool, raw: bytes, program: Program
) -> None:
    auth = (program.client_id, str(program.secret)) if known else None
    for body in (encoded(pairs).encode(), encoded(pairs).encode() + b"&" + raw):
        answer = program.app.test_client().post(
            path, data=body, auth=auth, content_type="application/x-www-form-urlencoded"
        )
        assert answer.status_code in (200, 400, 401), answer.text
        assert answer.content_type == "application/json"
        if answer.status_code != 200:
            assert (answer.json or {})["error"]


@_FEW
@given(pairs=_PAIRS, kept=st.lists(st.sampled_from(_NAMES), max_size=3))
def test_authorization_requests_lead_to_a_page_or_to_the_client(
    pairs: Any, kept: list[str], app_client: Program
) -> None:
    flow = Flow(app_client)
    parameters = [(n, v) for n, v in flow.parameters.items() if n not in kept] + pairs
    answer = app_client.app.test_client().get("/oauth/authorize?" + encoded(parameters))
    assert answer.status_code in (303, 400)
    if answer.status_code == 303:
        assert answer.location.startswith(("/oauth/sign-in?next=", "https://app.example.com/"))


@_FEW
@given(pairs=_PAIRS, path=st.sampled_from(["authorize", "device", "sign-in", "sign-out"]))
def test_pages_refuse_what_is_no_form_of_theirs(
    pairs: Any, path: str, person: Person, caller: Caller
) -> None:
    for method in ("get", "post"):
        sent = {"query_string": encoded(pairs)} if method == "get" else {"data": encoded(pairs)}
        answer = getattr(person.browser, method)(
            f"/oauth/{path}", content_type="application/x-www-form-urlencoded", **sent
        )
        assert answer.status_code in (200, 303, 400, 405), answer.text
