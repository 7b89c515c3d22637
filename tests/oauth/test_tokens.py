"""Access tokens: what counts, and everything that does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.core.errors import Unauthenticated
from api.oauth.keyfile import Keys
from api.oauth.tokens import MAX_TOKEN_LENGTH, AccessToken, Tokens
from tests.answers import problem
from tests.caller import Caller

EDDSA, RS256 = "EdDSA", "RS256"


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


class Forge:
    """Signs with the service's own key whatever a test wants signed, through no code of ours."""

    def __init__(self, keys: Keys, tokens: Tokens, workspace_id: int) -> None:
        self.keys = keys
        self.key = self._key(EDDSA)
        now = int(time.time())
        self.header: dict[str, Any] = {"alg": EDDSA, "typ": "at+jwt", "kid": self.key.kid}
        self.claims: dict[str, Any] = {
            "iss": tokens.issuer,
            "aud": tokens.audience,
            "sub": "somebody",
            "client_id": "somebody",
            "scope": "links:read",
            "jti": f"test-{time.monotonic_ns()}",
            "iat": now,
            "exp": now + 600,
            "workspace_id": str(workspace_id),
        }

    def _key(self, algorithm: str) -> Any:
        key = self.keys.ring().signing(algorithm, time.time())
        assert key is not None
        return key

    def signed(self, sign: Callable[[bytes], bytes] | None = None) -> str:
        """The token, signed with the EdDSA key unless told otherwise."""
        if sign is None:
            private = self.key.key.private_key
            assert isinstance(private, Ed25519PrivateKey)
            sign = private.sign
        text = f"{encoded(self.header)}.{encoded(self.claims)}"
        return f"{text}.{encoded(sign(text.encode()))}"


@pytest.fixture
def forge(keys: Keys, tokens: Tokens, caller: Caller) -> Forge:
    """A token that counts, to be spoiled."""
    return Forge(keys, tokens, caller.workspace_id)


@pytest.fixture
def call(app: Flask) -> Callable[[str], Any]:
    """Asks for links with a token."""

    def ask(token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return app.test_client().get("/api/v1/links", headers=headers)

    return ask


Call = Callable[[str], Any]


def assert_refused(answer: Any) -> None:
    problem(answer, 401, "unauthenticated")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_token_that_nothing_is_wrong_with_counts(forge: Forge, call: Call) -> None:
    assert call(forge.signed()).status_code == 200


def test_token_says_what_the_profile_asks_for(tokens: Tokens, app: Flask) -> None:
    """RFC 9068 section 2."""
    now = int(time.time())
    made = AccessToken(
        token_id="an id",
        client_id="a client",
        workspace_id=7,
        scopes=frozenset({"links:read", "stats:read"}),
        issued_at=now,
        expires_at=now + 600,
        user_id=5,
        grant_id=9,
    )
    text = tokens.write(made)
    header, claims = (decoded(part) for part in text.split(".")[:2])
    assert header["typ"] == "at+jwt"
    assert header["alg"] == EDDSA
    assert claims == {
        "iss": "http://sign.test",
        "aud": "http://sign.test/api/v1",
        "sub": "5",
        "client_id": "a client",
        "scope": "links:read stats:read",
        "jti": "an id",
        "iat": now,
        "exp": now + 600,
        "workspace_id": "7",
        "grant_id": "9",
    }
    assert tokens.read(text) == made


def test_algorithm_confusion_is_refused(forge: Forge, call: Call) -> None:
    """HS256 keyed with what everybody can fetch (RFC 8725 section 2.1)."""
    for algorithm in (EDDSA, RS256):
        key = forge._key(algorithm)
        for public in (key.key.as_pem(private=False), json.dumps(key.public()).encode()):
            forge.header = {"alg": "HS256", "typ": "at+jwt", "kid": key.kid}
            token = forge.signed(
                lambda text, public=public: hmac.digest(public, text, hashlib.sha256)
            )
            assert_refused(call(token))


def test_key_of_another_algorithm_is_refused(forge: Forge, call: Call) -> None:
    forge.header["kid"] = forge._key(RS256).kid
    assert_refused(call(forge.signed()))
    forge.header |= {"kid": forge.key.kid, "alg": RS256}
    assert_refused(call(forge.signed()))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "Ed448", "HS512", None])
def test_none_and_unknown_algorithms_are_refused(
    algorithm: str | None, forge: Forge, call: Call
) -> None:
    forge.header["alg"] = algorithm
    assert_refused(call(forge.signed()))
    assert_refused(call(forge.signed(lambda text: b"")))


def test_token_without_an_algorithm_is_refused(forge: Forge, call: Call) -> None:
    del forge.header["alg"]
    assert_refused(call(forge.signed()))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "http://sign.test"},
        {"aud": "http://sign.test/api/v1/"},
        {"aud": "https://elsewhere.example/api/v1"},
        {"aud": ["https://elsewhere.example"]},
        {"aud": []},
        {"aud": 5},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": "http://sign.test/"},
        {"iss": ["http://sign.test"]},
        {"iss": None},
        {"exp": None},
        {"exp": "never"},
        {"exp": float("inf")},
        {"exp": True},
        {"iat": None},
        {"jti": None},
        {"jti": 5},
        {"sub": None},
        {"sub": "not an id"},
        {"sub": "99999999999999999999"},
        {"client_id": None},
        {"client_id": ["somebody"]},
        {"scope": None},
        {"scope": ["links:read"]},
        {"workspace_id": None},
        {"workspace_id": 5},
        {"workspace_id": "-1"},
        {"workspace_id": "9" * 5_000},
        {"workspace_id": "٣"},
        {"grant_id": {}},
    ],
    ids=repr,
)
def test_wrong_claims_are_refused(claims: dict[str, Any], forge: Forge, call: Call) -> None:
    forge.claims |= claims
    assert_refused(call(forge.signed()))


def test_expired_token_is_refused(forge: Forge, call: Call) -> None:
    now = int(time.time())
    forge.claims |= {"iat": now - 640, "exp": now - 40}
    assert_refused(call(forge.signed()))


def test_token_that_lives_too_long_is_refused(forge: Forge, call: Call) -> None:
    forge.claims["exp"] += 1
    assert_refused(call(forge.signed()))


def test_known_token_ends_with_its_time(forge: Forge, call: Call) -> None:
    """A token whose signature was checked before is not good for ever."""
    now = int(time.time())
    forge.claims |= {"iat": now - 628, "exp": now - 28}
    token = forge.signed()
    assert call(token).status_code == 200
    time.sleep(3)
    assert_refused(call(token))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_token_that_is_not_yet_valid_is_refused(claim: str, forge: Forge, call: Call) -> None:
    forge.claims[claim] = int(time.time()) + 60
    forge.claims["exp"] = int(time.time()) + 600
    assert_refused(call(forge.signed()))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/proc/sys/kernel/ostype",
        "' OR 1=1 --",
        "x'; DROP TABLE oauth_clients; --",
        "https://evil.example/key.json",
        "http://169.254.169.254/latest",
        "unknown",
        "",
        "\x00",
        None,
        5,
        [],
        {"kid": "x"},
    ],
    ids=repr,
)
def test_injected_kid_is_refused(kid: Any, forge: Forge, call: Call) -> None:
    forge.header["kid"] = kid
    assert_refused(call(forge.signed()))
    # As if the named file were empty, or the answer of the query.
    for secret in (b"", b"1"):
        forge.header["alg"] = "HS256"
        assert_refused(
            call(forge.signed(lambda text, key=secret: hmac.digest(key, text, "sha256")))
        )


def test_token_without_a_kid_is_refused(forge: Forge, call: Call) -> None:
    del forge.header["kid"]
    assert_refused(call(forge.signed()))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 5},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"crit": 5},
        {"crit": None},
        {"crit": "typ"},
        {"crit": ["typ"]},
        {"crit": ["unknown"], "unknown": True},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
    ids=repr,
)
def test_critical_and_unknown_headers_are_refused(
    header: dict[str, Any], forge: Forge, call: Call
) -> None:
    """RFC 7515 section 4.1.11."""
    forge.header |= header
    assert_refused(call(forge.signed()))


def test_key_in_the_token_is_refused(forge: Forge, call: Call) -> None:
    """RFC 8725 section 3.10: with the forger's own key, and with ours beside it."""
    own = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encoded(own.public_key().public_bytes_raw())}
    for header in (
        {"jwk": jwk},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/key.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
    ):
        before = dict(forge.header)
        forge.header |= header
        assert_refused(call(forge.signed()))
        assert_refused(call(forge.signed(own.sign)))
        forge.header = before
    assert_refused(call(forge.signed(own.sign)))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at", "", "logout+jwt", "dpop+jwt", None, 5])
def test_other_kinds_of_jwt_are_refused(typ: Any, forge: Forge, call: Call) -> None:
    """RFC 8725 section 3.11: an ID token is no access token."""
    forge.header["typ"] = typ
    assert_refused(call(forge.signed()))
    del forge.header["typ"]
    assert_refused(call(forge.signed()))


def test_long_form_of_the_kind_counts(forge: Forge, call: Call) -> None:
    forge.header["typ"] = "application/AT+JWT"
    assert call(forge.signed()).status_code == 200


def test_truncated_tokens_are_refused(forge: Forge, call: Call) -> None:
    token = forge.signed()
    header, claims, signature = token.split(".")
    for text in (
        *(token[:length] for length in range(1, len(token), 7)),
        f"{header}.{claims}",
        f"{header}.{claims}.",
        f"{header}..{signature}",
        f".{claims}.{signature}",
        f"{token}.",
        f"{token}.{signature}",
        f"{header}.{claims}.{signature[:-1]}",
        f"{header}.{claims}.{signature}A",
    ):
        assert_refused(call(text))


def test_every_changed_character_spoils_the_token(forge: Forge, tokens: Tokens) -> None:
    token = forge.signed()
    dots = {index for index, sign in enumerate(token) if sign == "."}
    last = len(token) - 1  # of whose six bits only the first two count
    for index in range(0, last, 3):
        if index in dots:
            continue
        other = "B" if token[index] != "B" else "C"
        with pytest.raises(Unauthenticated):
            tokens.read(token[:index] + other + token[index + 1 :])


def test_oversized_tokens_are_refused(forge: Forge, call: Call) -> None:
    forge.claims["padding"] = "x" * MAX_TOKEN_LENGTH
    assert_refused(call(forge.signed()))
    del forge.claims["padding"]
    forge.header["kid"] = "x" * 600
    assert_refused(call(forge.signed()))


def test_unknown_scopes_are_nobodys(forge: Forge, tokens: Tokens) -> None:
    forge.claims["scope"] = "links:read root links:readwrite"
    assert tokens.read(forge.signed()).scopes == {"links:read"}


def test_token_without_the_scope_answers_403(forge: Forge, call: Call) -> None:
    forge.claims["scope"] = "stats:read"
    problem(call(forge.signed()), 403, "insufficient-scope")


def test_header_of_any_json_is_refused(tokens: Tokens) -> None:
    for part in ([], ["alg"], "alg", 5, None, {}, {"alg": {}}, {"alg": "EdDSA", "kid": {}}):
        with pytest.raises(Unauthenticated):
            tokens.read(f"{encoded(part)}.{encoded({})}.{encoded(b'x')}")
    with pytest.raises(Unauthenticated):
        tokens.read(f"{encoded(b'[' * 380)}.{encoded({})}.{encoded(b'x')}")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from("alg kid typ crit b64 jwk x5u exp".split()) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=_json, claims=_json, signature=st.binary(max_size=80))
def test_nothing_that_a_stranger_makes_does_more_than_be_refused(
    tokens: Tokens, header: Any, claims: Any, signature: bytes
) -> None:
    with pytest.raises(Unauthenticated):
        tokens.read(f"{encoded(header)}.{encoded(claims)}.{encoded(signature)}")


def test_rs256_signs_where_the_setting_says_so(app: Flask, tmp_path: Path) -> None:
    from config.settings import Settings

    home = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "SIGNPOST_HOME": str(tmp_path)}
    before = Tokens(Keys(Settings.load(home)), "http://sign.test")
    after = Tokens(Keys(Settings.load(home | {"JWT_ALGORITHM": RS256})), "http://sign.test")
    now = int(time.time())
    made = AccessToken(
        token_id="x",
        client_id="y",
        workspace_id=1,
        scopes=frozenset(),
        issued_at=now,
        expires_at=now + 600,
    )
    text = after.write(made)
    assert decoded(text.split(".")[0])["alg"] == RS256
    assert before.read(text) == after.read(before.write(made)) == made
