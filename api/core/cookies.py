"""Cookies of ours: kept from scripts, from other sites and, over https, from other hosts.

RFC 6265bis: `HttpOnly`, `SameSite`, and the prefix `__Host-` (section 4.1.3.2), which a browser
takes from this host alone, over https alone: a neighbour under the same domain cannot set one.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, request

from config.settings import Settings


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie of this site."""

    name: str
    secure: bool

    @classmethod
    def of(cls, settings: Settings, name: str) -> Cookie:
        """The cookie `name`, by the public address: a site that is tried out over http on this
        machine gets one without the prefix, which browsers would refuse there."""
        secure = settings.public_url.startswith("https:")
        return cls(f"__Host-{name}" if secure else name, secure)

    def read(self) -> str | None:
        """Its value in the present request."""
        return request.cookies.get(self.name)

    def set(self, response: Response, value: str, seconds: int) -> None:
        """Have the browser keep `value` for so long; 0: forget it."""
        response.set_cookie(
            self.name,
            value,
            max_age=seconds,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="Lax",
        )
