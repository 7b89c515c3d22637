"""An authority of the tests only, and the certificates that it issues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder that everybody may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self._issued = 0
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.file = folder / "ca.pem"
        """The certificate by which clients know what this authority has issued."""
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, *names: str) -> Certificate:
        """A certificate for host names, addresses, or an account (`common name` of a client)."""
        self._issued += 1
        made = self._ca.issue_cert(*names, common_name=names[0])
        issued = Certificate(
            self._folder / f"{self._issued}.pem", self._folder / f"{self._issued}.key"
        )
        for number, part in enumerate(made.cert_chain_pems):
            part.write_to_path(str(issued.certificate), append=number > 0)
        made.private_key_pem.write_to_path(str(issued.key))
        issued.key.chmod(0o600)  # libpq takes no key that others can read
        return issued
