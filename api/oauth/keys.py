"""The keys that sign access tokens, and which of them counts when.

A ring is a JWK set (RFC 7517) of private keys. Beside what the standard knows, a key has `nbf`,
from when it signs, and `exp`, from when nothing counts that it signed, both in seconds since 1970:
so every process with the same ring comes to the same answer without being told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey, RSAKey

from api.core.errors import Conflict
from api.oauth.lives import ACCEPTED_SECONDS

EDDSA, RS256 = "EdDSA", "RS256"
ALGORITHMS = (EDDSA, RS256)
# RFC 7518 section 3.3 allows no shorter one.
_RSA_BITS = 2048

Key: TypeAlias = OKPKey | RSAKey


class UnusableKeys(ValueError):
    """What was given is no ring; the message says why, and holds nothing of a key."""


class RotationUnderWay(Conflict):
    """The key of the last rotation does not sign yet."""

    code = "rotation-under-way"
    title = "A rotation is under way"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, named by its thumbprint (RFC 7638)."""

    kid: str
    algorithm: str
    key: Key
    signs_at: int = 0
    ends_at: int | None = None

    @classmethod
    def of(cls, key: Key, signs_at: int = 0, ends_at: int | None = None) -> SigningKey:
        """A key with its name and its algorithm.

        Raises:
            UnusableKeys: it is not private, or of a kind that signs nothing here.
        """
        if not key.is_private:
            raise UnusableKeys("a key is not a private one")
        if isinstance(key, OKPKey):
            if key.curve_name != "Ed25519":
                raise UnusableKeys(f"{key.curve_name} is not Ed25519")
            return cls(key.thumbprint(), EDDSA, key, signs_at, ends_at)
        if cast(RSAPrivateKey, key.private_key).key_size < _RSA_BITS:
            raise UnusableKeys(f"an RSA key is shorter than {_RSA_BITS} bits")
        return cls(key.thumbprint(), RS256, key, signs_at, ends_at)

    @classmethod
    def made(cls, algorithm: str, signs_at: int = 0) -> SigningKey:
        """A new key."""
        key = OKPKey.generate_key("Ed25519") if algorithm == EDDSA else RSAKey.generate_key(2048)
        return cls.of(key, signs_at)

    def public(self) -> dict[str, Any]:
        """As anybody may see it (RFC 7517 section 4)."""
        names = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        return _bare(self.key.as_dict(private=False)) | names

    def kept(self) -> dict[str, Any]:
        """As it is kept, which nobody may see."""
        names = {"kid": self.kid, "alg": self.algorithm, "use": "sig", "nbf": self.signs_at}
        ends = {} if self.ends_at is None else {"exp": self.ends_at}
        return _bare(self.key.as_dict(private=True)) | names | ends


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Some keys, of which time decides what they are good for."""

    keys: tuple[SigningKey, ...]

    @classmethod
    def made(cls) -> KeyRing:
        """A new key of each algorithm, good from now on."""
        return cls(tuple(SigningKey.made(algorithm) for algorithm in ALGORITHMS))

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """A ring from a JWK set or from one private key in PEM.

        Raises:
            UnusableKeys: it is neither, or holds no key that can sign.
        """
        text = text.strip()
        keys = _of_jwk_set(text) if text.startswith("{") else (_of_pem(text),)
        if len({key.kid for key in keys}) < len(keys):
            raise UnusableKeys("a key is there twice")
        return cls(tuple(keys))

    def text(self) -> str:
        """The JWK set that `parse` reads."""
        return json.dumps({"keys": [key.kept() for key in self.keys]}, indent=2) + "\n"

    def signing(self, algorithm: str, now: float) -> SigningKey | None:
        """The key that signs with this algorithm: of those whose time has come, the last."""
        due = [key for key in self._alive(now) if key.algorithm == algorithm]
        due = [key for key in due if key.signs_at <= now]
        return max(due, key=lambda key: key.signs_at, default=None)

    def find(self, kid: object, now: float) -> SigningKey | None:
        """The key of that name, while what it signs counts. The name is compared, and never used
        to look for anything."""
        return next((key for key in self._alive(now) if key.kid == kid), None)

    def published(self, now: float) -> list[dict[str, Any]]:
        """The public keys, those included that will sign only later."""
        return [key.public() for key in self._alive(now)]

    def rotated(self, now: int, overlap_seconds: int) -> KeyRing:
        """A ring with a new key of each algorithm that is in it: published at once, signing after
        the overlap. Those that signed before count until their last token has ended.

        Raises:
            RotationUnderWay: a key waits already.
        """
        waiting = max((key.signs_at for key in self.keys), default=0)
        if waiting > now:
            raise RotationUnderWay(f"The last rotation's keys sign in {waiting - now} seconds.")
        ends_at = now + overlap_seconds + ACCEPTED_SECONDS
        before = [key if key.ends_at else replace(key, ends_at=ends_at) for key in self._alive(now)]
        return KeyRing((*before, *_made(before, now + overlap_seconds)))

    def replaced(self, now: int) -> KeyRing:
        """A ring of new keys only: nothing counts that was signed before."""
        return KeyRing(tuple(_made(self.keys, now)))

    def _alive(self, now: float) -> list[SigningKey]:
        return [key for key in self.keys if key.ends_at is None or key.ends_at > now]


def _made(like: Sequence[SigningKey], signs_at: int) -> list[SigningKey]:
    algorithms = dict.fromkeys(key.algorithm for key in like)
    return [SigningKey.made(algorithm, signs_at) for algorithm in algorithms]


def _of_pem(text: str) -> SigningKey:
    # Many hosts keep a setting in one line.
    data = text.replace("\\n", "\n").encode()
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise UnusableKeys("neither a JWK set nor an unencrypted private key in PEM") from error
    if isinstance(private, Ed25519PrivateKey):
        return SigningKey.of(OKPKey.import_key(private))
    if isinstance(private, RSAPrivateKey) and private.key_size >= _RSA_BITS:
        return SigningKey.of(RSAKey.import_key(private))
    raise UnusableKeys(f"neither an Ed25519 key nor an RSA one of {_RSA_BITS} bits")


def _of_jwk_set(text: str) -> Sequence[SigningKey]:
    try:
        given = json.loads(text)["keys"]
        read = [_of_jwk(each) for each in given]
    except (ValueError, TypeError, KeyError, AttributeError, JoseError) as error:
        if isinstance(error, UnusableKeys):
            raise
        raise UnusableKeys("not a JWK set of Ed25519 and RSA keys") from error
    if not read:
        raise UnusableKeys("there is no key in it")
    return read


def _of_jwk(given: dict[str, Any]) -> SigningKey:
    kinds: dict[str, type[Key]] = {"OKP": OKPKey, "RSA": RSAKey}
    signs_at, ends_at = given.get("nbf", 0), given.get("exp")
    if type(signs_at) is not int or type(ends_at) not in (int, type(None)):
        raise UnusableKeys("nbf and exp are whole numbers of seconds")
    return SigningKey.of(kinds[given["kty"]].import_key(_bare(given)), signs_at, ends_at)


def _bare(key: dict[str, Any]) -> dict[str, Any]:
    """What is the key itself, without what is said of it."""
    said = ("kid", "alg", "use", "nbf", "exp", "key_ops")
    return {name: value for name, value in key.items() if name not in said}
