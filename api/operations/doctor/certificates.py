"""Certificates and keys that settings name: how long they last, and whether they fit."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.subject import Subject
from config.settings import Settings

_SOON_DAYS = 21
# As libpq, redis-py and RabbitMQ's clients name an authority, a certificate and its key.
_QUERY_NAMES = (
    ("sslrootcert", "sslcert", "sslkey"),
    ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
    ("cacertfile", "certfile", "keyfile"),
)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate with its key."""

    setting: str
    certificate: Path
    key: Path
    host: str | None = None  # that it is shown for


def look(subject: Subject) -> Iterator[Finding]:
    """Our own, those of clients, and those of authorities."""
    pairs, authorities = _named(subject.settings)
    if not pairs and not authorities:
        yield ok("certificates", "none: a proxy speaks TLS, or nobody does")
    for pair in pairs:
        yield from _pair(pair)
    for path, setting in sorted(authorities.items()):
        yield _authority(setting, path)


def _named(settings: Settings) -> tuple[list[_Pair], dict[Path, str]]:
    pairs: list[_Pair] = []
    authorities: dict[Path, str] = {}
    if settings.tls_certificate:
        key = settings.tls_key or settings.tls_certificate
        host = settings.default_domain if settings.base_url else None
        pairs.append(_Pair("TLS_CERTIFICATE", settings.tls_certificate, key, host))
    for setting, url in _urls(settings):
        asked = dict(parse_qsl(url.partition("?")[2]))
        for authority, certificate, key_name in _QUERY_NAMES:
            if asked.get(authority, "system") != "system":
                authorities.setdefault(Path(asked[authority]).expanduser(), setting)
            if certificate in asked:
                own = Path(asked[certificate]).expanduser()
                key = Path(asked.get(key_name, str(own))).expanduser()
                pair = _Pair(setting, own, key)
                if pair.certificate not in {known.certificate for known in pairs}:
                    pairs.append(pair)
    return pairs, authorities


def _urls(settings: Settings) -> Iterator[tuple[str, str]]:
    for name in ("database_url", "redis_url", "amqp_url"):
        if url := getattr(settings, name):
            yield name.upper(), url
    for url in settings.database_replica_urls:
        yield "DATABASE_REPLICA_URLS", url
    for _, url in settings.shard_urls:
        yield "SHARD_URLS", url
    for _, url in settings.shard_replica_urls:
        yield "SHARD_REPLICA_URLS", url


def _pair(pair: _Pair) -> Iterator[Finding]:
    try:
        chain = x509.load_pem_x509_certificates(pair.certificate.read_bytes())
    except (OSError, ValueError) as error:
        yield wrong(pair.setting, f"{pair.certificate}: {error}", "Name a PEM file of it.")
        return
    yield _lasting(pair.setting, pair.certificate, min(it.not_valid_after_utc for it in chain))
    if complaint := _does_not_fit(pair, chain[0]):
        yield wrong(f"key of {pair.setting}", complaint, "Name the key that it was issued for.")
    mode = stat.S_IMODE(pair.key.stat().st_mode)
    if mode & 0o007:
        found = f"{pair.key} can be read by everybody (mode {mode:o})"
        advice = "Let only its owner, or its group, read it."
        yield wrong(f"key of {pair.setting}", found, advice, f"chmod 640 {pair.key}")
    for issued, issuer in pairwise(chain):
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            found = f"{_name(issued)} is followed by {_name(issuer)}, which did not issue it"
            yield wrong(f"chain of {pair.setting}", found, "Put them in order, the own one first.")
    if pair.host and not _is_for(chain[0], pair.host):
        found = f"it is not for {pair.host}, the host of BASE_URL"
        yield warning(f"name in {pair.setting}", found, "Browsers will refuse it: renew it for it.")


def _authority(setting: str, path: Path) -> Finding:
    try:
        held = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        return wrong(f"authority of {setting}", f"{path}: {error}", "Name a PEM file of it.")
    # A bundle has some that are over: the last that ends counts.
    return _lasting(f"authority of {setting}", path, max(it.not_valid_after_utc for it in held))


def _lasting(check: str, path: Path, end: datetime) -> Finding:
    days = (end - datetime.now(UTC)).total_seconds() / 86_400
    if days <= 0:
        found = f"{path} expired on {end:%Y-%m-%d}"
        return wrong(check, found, "Renew it, and restart (SIGHUP to gunicorn will do).")
    found = f"{path} lasts until {end:%Y-%m-%d}, {days:.0f} days"
    if days < _SOON_DAYS:
        return warning(check, found, "Renew it, and look why that did not happen by itself.")
    return ok(check, found)


def _does_not_fit(pair: _Pair, own: x509.Certificate) -> str:
    try:
        key = load_pem_private_key(pair.key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        return f"{pair.key}: {error}"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        return f"{pair.key} is not the key of {pair.certificate}"
    return ""


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    """RFC 9525: the names are those of the extension; a wildcard is the whole first label."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    parent = host.partition(".")[2]
    hosts = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return host in hosts | addresses or (bool(parent) and f"*.{parent}" in hosts)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"number {certificate.serial_number}"
