"""Settings that are wrong, weak, misspelled, or do not go with each other."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.subject import Subject
from config.settings import Settings

_NAMES = frozenset(item.name.upper() for item in fields(Settings))
# Names of others that resemble ours: Kubernetes names each service to each pod, and so do links.
_FOREIGN = re.compile(r".*_(SERVICE_(HOST|PORT.*)|PORT_\d+_.*|PORT)|(TEST|GUNICORN_CMD)_.*")
_ALIKE = 0.82
_SECRETS = ("SECRET_KEY", "METRICS_TOKEN")
_WELL_KNOWN = re.compile(
    r"(?i)change.?me|secret.?key|^secret|password|example|default|12345|qwerty|^(.)\1+$|your[-_ ]"
)
_LONG_SECRET, _DIFFERENT_CHARACTERS = 32, 8
_MAKE_SECRET = "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"  # nosec B105 # noqa: S105
_PRIVATE_FILES = ("secret.key", "jwt-keys.json", "admin.key", "metrics.token")
_EVERYWHERE = ("0.0.0.0", "::")  # nosec B104 # noqa: S104


def look(subject: Subject) -> Iterator[Finding]:
    """Values, names, secrets and the public address."""
    for name, reason in sorted(subject.faults.items()):
        yield wrong(name, reason, "Correct it: docs/settings.md says what it may be.")
    given = sorted(name for name in _NAMES if subject.environ.get(name))
    if not subject.faults:
        yield ok("values", f"{len(given)} set, {len(_NAMES) - len(given)} as by default")
    yield from _misspelled(subject.environ)
    yield from _secrets(subject)
    yield from _files(subject.settings.signpost_home)
    yield _address(subject)


def _misspelled(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted(environ.keys() - _NAMES):
        if _FOREIGN.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, _NAMES, 1, _ALIKE)
        if near:
            advice = f"Is {near[0]} meant? This name is read by nobody."
            yield warning(name, "no such setting", advice)
        elif name.startswith("SIGNPOST_"):
            yield warning(name, "no such setting", "Remove it, or look it up in docs/settings.md.")


def _secrets(subject: Subject) -> Iterator[Finding]:
    for name in _SECRETS:
        value = subject.environ.get(name, "")
        if not value or name in subject.faults:
            continue
        if _WELL_KNOWN.search(value) or len(set(value)) < _DIFFERENT_CHARACTERS:
            yield wrong(name, "can be guessed", "Set one that is made by chance.", _MAKE_SECRET)
        elif len(value) < _LONG_SECRET:
            found = f"{len(value)} characters"
            yield warning(name, found, f"Set one of {_LONG_SECRET} or more.", _MAKE_SECRET)
        else:
            yield ok(name, f"{len(value)} characters")
    if not subject.environ.get("SECRET_KEY"):
        yield _made_secret(subject)


def _made_secret(subject: Subject) -> Finding:
    path = subject.settings.signpost_home / "secret.key"
    if path.exists():
        found = "not set; made once, and kept on this host"
    else:
        found = "not set; the first start makes one, and keeps it on this host"
    if subject.settings.amqp_url or "SHARD_URLS" in subject.environ:
        advice = "Set the same in every process, as soon as there is more than one host."
        return warning("SECRET_KEY", found, advice, _MAKE_SECRET)
    return ok("SECRET_KEY", found)


def _files(home: Path) -> Iterator[Finding]:
    for name in _PRIVATE_FILES:
        path = home / name
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            found = f"{path} can be read by others (mode {mode:o})"
            yield wrong(name, found, "Let only its owner read it.", f"chmod 600 {path}")
        elif not os.access(path, os.R_OK):
            found = f"{path} cannot be read by this account"
            yield wrong(name, found, "Run as the account that owns SIGNPOST_HOME.")
        else:
            yield ok(name, "only its owner can read it")


def _address(subject: Subject) -> Finding:
    """Whether the public address can be that of what listens here."""
    settings = subject.settings
    check = "BASE_URL"
    url = urlsplit(settings.public_url)
    proxied = bool(settings.trusted_proxies)
    if settings.base_url is None:
        if settings.host in _EVERYWHERE:
            found = f"not set, so links begin with {settings.public_url}"
            return warning(check, found, "Set it to the address that visitors open.")
        return ok(check, f"not set: {settings.public_url}")
    if url.scheme == "http" and settings.tls_certificate:
        advice = "Begin it with https://: the server speaks nothing else."
        return wrong(check, f"{settings.public_url}, and TLS_CERTIFICATE is set", advice)
    if url.scheme == "https" and not settings.tls_certificate and not proxied:
        advice = "Name the proxy in TRUSTED_PROXIES, or every visitor has its address."
        found = f"{settings.public_url}, but neither TLS_CERTIFICATE nor TRUSTED_PROXIES is set"
        return warning(check, found, advice)
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    if port != settings.port and not proxied:
        advice = f"Set PORT={port}, or name the proxy before it in TRUSTED_PROXIES."
        found = f"{settings.public_url}, while the server listens on port {settings.port}"
        return warning(check, found, advice)
    return ok(check, settings.public_url)
