"""How often somebody may try to sign in."""

from __future__ import annotations

import hashlib
import logging

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from api.core.client import address_block
from api.core.errors import TooManyRequests
from api.core.limits import RateLimiter

log = logging.getLogger(__name__)

_TOLD = RateLimitItemPerMinute(1)


class SignInLimits:
    """Counts tries by address and by account, right ones too: who tries many at once would pass
    if only the outcome counted."""

    def __init__(
        self, limiter: RateLimiter, *, per_minute_and_address: int, per_hour_and_account: int
    ) -> None:
        self._limiter = limiter
        self._by_address = RateLimitItemPerMinute(per_minute_and_address)
        self._by_account = RateLimitItemPerHour(per_hour_and_account)

    def try_address(self, address: str) -> None:
        """Count a try from `address`, or from another one of the same /64.

        Raises:
            TooManyRequests: there were too many.
        """
        self._try(self._by_address, "sign-in-address", address_block(address))

    def try_account(self, email: str) -> None:
        """Count a try on an account, whether there is such an account or not.

        Raises:
            TooManyRequests: there were too many.
        """
        # Addresses of people are none of Redis' business.
        self._try(self._by_account, "sign-in-account", hashlib.sha256(email.encode()).hexdigest())

    def tell(self, what: str, who: str) -> bool:
        """Whether to tell of a refusal: once a minute, as whoever is refused may try very often."""
        return self._limiter.hit(_TOLD, "sign-in-told", what, who).allowed

    def _try(self, limit: RateLimitItem, what: str, who: str) -> None:
        decision = self._limiter.hit(limit, what, who)
        if not decision.allowed:
            raise TooManyRequests("Too many tries.", decision.retry_after_seconds)
