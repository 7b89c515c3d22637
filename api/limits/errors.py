"""What a caller is told that has used up what its plan gives."""

from __future__ import annotations

from collections.abc import Mapping

from api.core.errors import TooManyRequests


class QuotaExceeded(TooManyRequests):
    """A limit of the plan is reached.

    429, as in draft-ietf-httpapi-ratelimit-headers-11 section 5.1: the same request succeeds later,
    which neither 402 nor 403 says. `violated-policies` is that draft's.
    """

    code = "quota-exceeded"
    title = "The quota of the plan is used up"

    def __init__(
        self,
        policy: str,
        detail: str,
        retry_after_seconds: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, retry_after_seconds)
        self.headers.update(headers or {})
        self.extra["violated-policies"] = [policy]
