"""The certificates of the gateway: a folder for each, and the hosts that each is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from config.tls import server_context

CHAIN, KEY = "fullchain.pem", "privkey.pem"  # as certbot and acme.sh call them
# What nginx and a browser's SNI both know: a name, or one of which the first label is any.
_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class Site:
    """A certificate, and the hosts that are served with it."""

    folder: str
    chain: Path
    key: Path
    names: tuple[str, ...]
    ends_at: datetime
    has_ocsp: bool


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a folder of certificates holds, and what is wrong with some of them."""

    sites: Sequence[Site] = ()
    complaints: Sequence[str] = field(default=())


def find_certificates(folder: Path) -> Certificates:
    """The certificates below a folder, each host in one of them only.

    One that cannot be used is left out, and told of: the hosts of the others go on.
    """
    sites: list[Site] = []
    complaints: list[str] = []
    if not folder.is_dir():
        return Certificates([], [f"there is no folder {folder}"])
    for path in sorted(folder.iterdir()):
        if not (path / CHAIN).exists():
            continue  # certbot keeps a README beside them
        try:
            site = _read(path)
        except (ValueError, OSError) as error:
            complaints.append(f"{path.name} is left out: {error}")
            continue
        if site.ends_at < datetime.now(UTC):
            complaints.append(f"{path.name} ended on {site.ends_at:%Y-%m-%d}")
        sites.append(site)
    return Certificates(list(_each_name_once(sites)), complaints)


def _read(path: Path) -> Site:
    server_context(path / CHAIN, path / KEY)  # whether they belong together
    certificate = x509.load_pem_x509_certificate((path / CHAIN).read_bytes())
    names = sorted({name.lower() for name in _dns_names(certificate)})
    unknown = [name for name in names if not _NAME.fullmatch(name)]
    if unknown or not names:
        raise ValueError(f"it is for {unknown[0]!r}" if unknown else "it is for no host name")
    return Site(
        folder=path.name,
        chain=(path / CHAIN).absolute(),
        key=(path / KEY).absolute(),
        names=tuple(names),
        ends_at=certificate.not_valid_after_utc,
        has_ocsp=_has_ocsp(certificate),
    )


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.DNSName)


def _has_ocsp(certificate: x509.Certificate) -> bool:
    """Whether the authority tells of revocations by OCSP (RFC 6960); many have ceased to."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except x509.ExtensionNotFound:
        return False
    return any(one.access_method == AuthorityInformationAccessOID.OCSP for one in access.value)


def _each_name_once(sites: Iterable[Site]) -> Iterable[Site]:
    """Of several certificates for a host, the one of its own folder is used, else the one that
    ends last."""
    best: dict[str, Site] = {}
    for site in sites:
        for name in site.names:
            if name not in best or _rank(site, name) > _rank(best[name], name):
                best[name] = site
    for site in sites:
        names = tuple(name for name in site.names if best[name] is site)
        if names:
            yield replace(site, names=names)


def _rank(site: Site, name: str) -> tuple[bool, datetime]:
    return site.folder == name, site.ends_at
