"""Settings under which nobody runs into a limit that a test is not about."""

from __future__ import annotations

UNLIMITED = {
    "DEFAULT_PLAN": "unlimited",
    "SIGN_IN_TRIES_PER_MINUTE": "1000000",
    "SIGN_IN_TRIES_PER_HOUR": "1000000",
    "TOKEN_REQUESTS_PER_MINUTE": "1000000",
    "MISSES_PER_MINUTE": "1000000",
    "IMPORTS_PER_WORKSPACE": "1000000",
}
