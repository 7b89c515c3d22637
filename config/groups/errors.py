"""Unexpected errors: who is told of them."""

from __future__ import annotations

from dataclasses import dataclass

from config import kinds
from config.declaring import setting


@dataclass(frozen=True, kw_only=True)
class ErrorSettings:
    """Unexpected errors: who is told of them."""

    sentry_dsn: str | None = setting(
        None,
        kinds.sentry_dsn,
        "The Sentry, or what speaks its protocol, that is told of unexpected errors: "
        "`https://key@host/project`; default: nobody is. See docs/errors.md.",
    )
    sentry_environment: str = setting(
        "production",
        kinds.matching(r"[A-Za-z0-9._-]{1,64}"),
        "What this installation is called there.",
    )
