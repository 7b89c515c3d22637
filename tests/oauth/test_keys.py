"""Keys: made, published, rotated with overlap, and noticed by who runs already."""

from __future__ import annotations

import json
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from flask.testing import FlaskClient
from joserfc.jwk import KeySet

from api.core.errors import Unauthenticated, Unavailable
from api.oauth.keyfile import KeyFile, Keys
from api.oauth.keys import KeyRing, RotationUnderWay, UnusableKeys
from api.oauth.lives import ACCEPTED_SECONDS
from api.oauth.revocations import Revocations
from api.oauth.tokens import AccessToken, Tokens
from api.oauth.verifier import TokenVerifier
from config.settings import Settings, SettingsError
from tests.scripting import run_script

NOW = 1_800_000_000


def pem(key: Any, encryption: Any = None) -> str:
    return str(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()
    )


def settings_of(home: Path, **values: str) -> Settings:
    return Settings.load(
        {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "SIGNPOST_HOME": str(home)}
        | values
    )


def a_token(name: str = "x") -> AccessToken:
    now = int(time.time())
    return AccessToken(
        token_id=name,
        client_id="somebody",
        workspace_id=1,
        scopes=frozenset(),
        issued_at=now,
        expires_at=now + 600,
    )


def test_published_keys_are_public_and_named_by_their_thumbprint(client: FlaskClient) -> None:
    answer = client.get("/.well-known/jwks.json")
    assert answer.content_type == "application/json"
    assert "max-age" in answer.headers["Cache-Control"]
    published = (answer.json or {})["keys"]
    assert {(key["kty"], key["alg"], key["use"]) for key in published} == {
        ("OKP", "EdDSA", "sig"),
        ("RSA", "RS256", "sig"),
    }
    for key in published:
        assert not set(key) & {"d", "p", "q", "dp", "dq", "qi", "k", "nbf", "exp"}
    for key in KeySet.import_key_set({"keys": published}).keys:
        assert key.thumbprint() == key.kid


def test_thumbprint_is_that_of_the_standard() -> None:
    """The example of RFC 8037 appendix A.3."""
    ring = KeyRing.parse(
        json.dumps(
            {
                "keys": [
                    {
                        "kty": "OKP",
                        "crv": "Ed25519",
                        # pragma: allowlist nextline secret
                        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                        # pragma: allowlist nextline secret
                        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                    }
                ]
            }
        )
    )
    # pragma: allowlist nextline secret
    assert ring.keys[0].kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_made_keys_are_kept_where_only_the_owner_reads(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    first = Keys(settings).ring()
    assert stat.S_IMODE(settings.jwt_keys_path.stat().st_mode) == 0o600
    assert Keys(settings).ring() == first
    assert [path.name for path in settings.jwt_keys_path.parent.iterdir()] == ["jwt-keys.json"]


def test_processes_that_make_the_first_keys_at_once_have_the_same(tmp_path: Path) -> None:
    files = [KeyFile(tmp_path / "keys.json") for _ in range(6)]
    rings: list[KeyRing] = []
    threads = [threading.Thread(target=lambda f=f: rings.append(f.read())) for f in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ring.text() for ring in rings}) == 1


def test_rotation_publishes_first_signs_later_and_drops_the_old_last() -> None:
    ring = KeyRing.made()
    rotated = ring.rotated(NOW, overlap_seconds=100)
    for algorithm in ("EdDSA", "RS256"):
        old, new = (each.signing(algorithm, NOW) for each in (ring, rotated))
        assert old is not None and new is not None
        assert new.kid == old.kid
        later = rotated.signing(algorithm, NOW + 100)
        assert later is not None
        assert later.kid != old.kid
        assert later.kid in {key["kid"] for key in rotated.published(NOW)}
        # The last token of the old key is made just before the new one signs.
        last = NOW + 100 + ACCEPTED_SECONDS
        assert rotated.find(old.kid, last - 1) is not None
        assert rotated.find(old.kid, last) is None
        assert old.kid not in {key["kid"] for key in rotated.published(last)}
        assert rotated.find(later.kid, last) is not None


def test_next_rotation_forgets_keys_that_have_ended() -> None:
    once = KeyRing.made().rotated(NOW, 100)
    twice = once.rotated(NOW + 100 + ACCEPTED_SECONDS, 100)
    assert len(once.keys) == 4
    assert len(twice.keys) == 4
    assert len({key.kid for key in (*once.keys, *twice.keys)}) == 6


def test_rotation_waits_for_the_one_before() -> None:
    with pytest.raises(RotationUnderWay):
        KeyRing.made().rotated(NOW, 100).rotated(NOW + 99, 100)


def test_ring_is_the_same_after_it_was_kept() -> None:
    ring = KeyRing.made().rotated(NOW, 100)
    again = KeyRing.parse(ring.text())
    assert again.text() == ring.text()
    assert again.published(NOW) == ring.published(NOW)


def test_running_process_notices_rotated_keys_within_seconds(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    here, there = (Tokens(Keys(settings), "http://sign.test") for _ in range(2))
    before = here.write(a_token("before"))
    assert there.read(before).token_id == "before"
    KeyFile(settings.jwt_keys_path).change(lambda ring: ring.rotated(int(time.time()), 0))
    # Another process signs with the new key at once, and this one has just looked at the file.
    fresh = Tokens(Keys(settings), "http://sign.test").write(a_token("after"))
    assert fresh.split(".")[0] != before.split(".")[0]
    assert here.read(fresh).token_id == "after"
    time.sleep(1.1)
    assert here.write(a_token()).split(".")[0] == fresh.split(".")[0]
    assert there.read(before).token_id == "before"


def test_compromised_keys_count_no_more(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    tokens = Tokens(Keys(settings), "http://sign.test")
    before = tokens.write(a_token())
    KeyFile(settings.jwt_keys_path).change(lambda ring: ring.replaced(int(time.time())))
    time.sleep(1.1)
    with pytest.raises(Unauthenticated):
        tokens.read(before)
    assert tokens.read(tokens.write(a_token("new"))).token_id == "new"


def test_known_token_ends_with_its_compromised_key(
    tmp_path: Path, revocations: Revocations
) -> None:
    settings = settings_of(tmp_path)
    tokens = Tokens(Keys(settings), "http://sign.test")
    verifier = TokenVerifier(tokens, revocations)
    text = tokens.write(a_token())
    assert verifier.token_of(text).token_id == "x"
    KeyFile(settings.jwt_keys_path).change(lambda ring: ring.rotated(int(time.time()), 0))
    time.sleep(1.1)
    assert verifier.token_of(text).token_id == "x"
    KeyFile(settings.jwt_keys_path).change(lambda ring: ring.replaced(int(time.time())))
    time.sleep(1.1)
    with pytest.raises(Unauthenticated):
        verifier.token_of(text)


def test_broken_file_leaves_the_keys_that_were_read(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    tokens = Tokens(Keys(settings), "http://sign.test")
    before = tokens.write(a_token())
    settings.jwt_keys_path.write_text("{", encoding="ascii")
    time.sleep(1.1)
    assert tokens.read(before).token_id == "x"
    with pytest.raises(Unavailable):
        Keys(settings).ring()


@pytest.mark.parametrize("kind", ["EdDSA", "RS256"])
@pytest.mark.parametrize("escaped", [False, True])
def test_key_of_the_setting_signs(kind: str, escaped: bool, tmp_path: Path) -> None:
    key: Any = ed25519.Ed25519PrivateKey.generate()
    if kind == "RS256":
        key = rsa.generate_private_key(65537, 2048)
    text = pem(key).replace("\n", "\\n") if escaped else pem(key)
    settings = settings_of(tmp_path, JWT_PRIVATE_KEY=text, JWT_ALGORITHM=kind)
    tokens = Tokens(Keys(settings), "http://sign.test")
    assert tokens.read(tokens.write(a_token())).token_id == "x"
    assert list(tmp_path.iterdir()) == []


def test_key_set_of_the_setting_is_used_as_it_is(tmp_path: Path) -> None:
    ring = KeyRing.made().rotated(int(time.time()), 100)
    settings = settings_of(tmp_path, JWT_PRIVATE_KEY=ring.text())
    assert Keys(settings).ring().text() == ring.text()


@pytest.mark.parametrize(
    "text",
    [
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(ed448.Ed448PrivateKey.generate()),
        pem(ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
        '{"keys": []}',
        '{"keys": {}}',
        '{"keys": [5]}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        '{"keys": [{"kty": "OKP", "crv": "X25519", "x": "AAAA", "d": "AAAA"}]}',
        '{"nothing": 1}',
        "{",
    ],
)
def test_keys_that_sign_nothing_stop_the_start(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^JWT_PRIVATE_KEY: ") as caught:
        Keys(settings_of(tmp_path, JWT_PRIVATE_KEY=text))
    assert "\n" not in str(caught.value)
    assert "AAAA" not in str(caught.value)


def test_public_keys_of_the_setting_stop_the_start(tmp_path: Path) -> None:
    public = {"keys": KeyRing.made().published(NOW)}
    with pytest.raises(SettingsError, match="JWT_PRIVATE_KEY: a key is not a private one"):
        Keys(settings_of(tmp_path, JWT_PRIVATE_KEY=json.dumps(public)))
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    text = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(SettingsError, match="JWT_PRIVATE_KEY"):
        settings_of(tmp_path, JWT_PRIVATE_KEY=text)


def test_short_rsa_key_is_refused() -> None:
    with pytest.raises(UnusableKeys, match="2048"):
        KeyRing.parse(pem(rsa.generate_private_key(65537, 1024)))


def test_algorithm_without_a_key_stops_the_start(tmp_path: Path) -> None:
    text = pem(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(SettingsError, match="JWT_ALGORITHM"):
        Keys(settings_of(tmp_path, JWT_PRIVATE_KEY=text, JWT_ALGORITHM="RS256"))


def rotate(home: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {"SIGNPOST_HOME": str(home), "PATH": ""} | settings
    return run_script("rotate-keys", *options, env=environ)


def test_script_rotates_and_says_what_happens_when(tmp_path: Path) -> None:
    assert "Usage:" in rotate(tmp_path, "--help").stdout
    before = KeyFile(tmp_path / "jwt-keys.json").read()
    planned = json.loads(rotate(tmp_path, "--dry-run", "--json").stdout)
    assert len(planned["keys"]) == 4
    assert KeyFile(tmp_path / "jwt-keys.json").read() == before
    done = json.loads(rotate(tmp_path, "--overlap", "60", "--json").stdout)
    after = KeyFile(tmp_path / "jwt-keys.json").read()
    assert [key["kid"] for key in done["keys"]] == [key.kid for key in after.keys]
    assert stat.S_IMODE((tmp_path / "jwt-keys.json").stat().st_mode) == 0o600
    again = rotate(tmp_path)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert not {"d", "p", "q"} & set(done["keys"][0])


def test_script_prints_the_next_value_of_the_setting(tmp_path: Path) -> None:
    ring = KeyRing.made()
    refused = rotate(tmp_path, JWT_PRIVATE_KEY=ring.text())
    assert refused.returncode == 2
    assert "--print" in refused.stderr
    printed = KeyRing.parse(rotate(tmp_path, "--print", JWT_PRIVATE_KEY=ring.text()).stdout)
    assert {key.kid for key in ring.keys} < {key.kid for key in printed.keys}
