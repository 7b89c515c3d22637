"""Every setting: its name, type, default and meaning; read once from the environment, validated.

A setting's environment variable is its field name in upper case. An unknown value stops the start
with one line that names the variable.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config.consistency import checked
from config.declaring import SettingsError
from config.groups.clicks import ClickSettings
from config.groups.databases import DatabaseSettings
from config.groups.errors import ErrorSettings
from config.groups.gateway import GatewaySettings
from config.groups.imports import ImportSettings
from config.groups.links import LinkSettings
from config.groups.queues import QueueSettings
from config.groups.security import SecuritySettings
from config.groups.server import SERVICES, ServerSettings
from config.groups.telemetry import TelemetrySettings
from config.groups.transfers import TransferSettings
from config.plans import Plan, by_name
from config.private_files import make_once
from config.providers import provided

__all__ = ["GROUPS", "SERVICES", "Settings", "SettingsError"]

GROUPS = (
    ServerSettings,
    DatabaseSettings,
    QueueSettings,
    SecuritySettings,
    LinkSettings,
    ClickSettings,
    TransferSettings,
    TelemetrySettings,
    ErrorSettings,
    GatewaySettings,
    ImportSettings,
)
_LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True, kw_only=True)
class Settings(
    ServerSettings,
    DatabaseSettings,
    QueueSettings,
    SecuritySettings,
    LinkSettings,
    ClickSettings,
    TransferSettings,
    TelemetrySettings,
    ErrorSettings,
    GatewaySettings,
    ImportSettings,
):
    """The settings of one process."""

    @property
    def public_url(self) -> str:
        """`scheme://host[:port]` of the default domain."""
        if self.base_url:
            return self.base_url
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # nosec B104 # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{self.port}"

    @property
    def default_domain(self) -> str:
        """Host name of `public_url`, in lower case and without the port."""
        return (urlsplit(self.public_url).hostname or "localhost").lower()

    @property
    def plans_by_name(self) -> Mapping[str, Plan]:
        """All plans."""
        return by_name(self.plans)

    def patient(self, seconds: float) -> Settings:
        """The same for a process whose statements are large and nobody waits for: each of them may
        take so long, or wait so long for a lock."""
        return replace(
            self,
            db_statement_timeout_seconds=seconds,
            db_lock_timeout_seconds=seconds,
            db_idle_transaction_seconds=max(self.db_idle_transaction_seconds, 60.0),
        )

    @property
    def spool_path(self) -> Path:
        """Folder of the click segments."""
        return self.signpost_home / "spool"

    @property
    def control_socket(self) -> Path | None:
        """Where gunicorn's master is asked; None when the path is too long for a socket."""
        path = self.signpost_home / "gunicorn.ctl"
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH else None

    @property
    def load_path(self) -> Path:
        """Folder in which the web workers of this host tell how busy they are."""
        return self.signpost_home / "load"

    @property
    def measures(self) -> bool:
        """Whether anybody may see what is counted."""
        return bool(self.metrics_token or self.metrics_port or self.status_page == "public")

    @property
    def metrics_path(self) -> Path:
        """Folder in which the processes of this host count."""
        return self.signpost_home / "metrics"

    @property
    def status_path(self) -> Path:
        """Folder of the minutes that the status page shows of this host."""
        return self.signpost_home / "status"

    @property
    def gateway_path(self) -> Path:
        """Folder of the gateway's configuration, logs and switches."""
        return self.gateway_home or self.signpost_home / "gateway"

    @property
    def jwt_keys_path(self) -> Path:
        """Where keys are kept that no setting gives."""
        return self.signpost_home / "jwt-keys.json"

    def resolved_secret_key(self) -> bytes:
        """The secret key, made and kept under `signpost_home` when no setting gives one."""
        if self.secret_key:
            return self.secret_key.encode()
        return _kept_secret(self.signpost_home / "secret.key")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the settings from `environ` (default: the process environment).

        Raises:
            SettingsError: a value does not validate; the message names the variable.
        """
        environ = os.environ if environ is None else environ
        elsewhere = provided(environ)
        values: dict[str, Any] = {}
        for item in fields(cls):
            name = elsewhere.get(item.name.upper(), item.name.upper())
            if environ.get(name, "") == "":
                continue
            try:
                values[item.name] = item.metadata["kind"](environ[name])
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from None
        values.update(overrides)
        return cls(**checked(values))


def _kept_secret(path: Path) -> bytes:
    """Read the secret at `path`, or make it; two processes that race get the same one."""
    if not path.exists():
        make_once(path, secrets.token_urlsafe(48))
    return path.read_bytes().strip()
