"""Who may see the status page."""

from __future__ import annotations

from collections import OrderedDict

from werkzeug.datastructures import Authorization

from api.core.errors import DomainError, NotFound
from api.core.limits import AddressLimits
from api.operations.tokens import is_token

OFF, PRIVATE, PUBLIC = "off", "private", "public"
TRIES = "status-token"
_MOST_KNOWN = 1_000


class TokenNeeded(DomainError):
    """The token is missing or wrong (RFC 7617 section 2)."""

    status = 401
    code = "unauthenticated"
    title = "A valid credential is needed"

    def __init__(self) -> None:
        super().__init__(
            "Any name, and METRICS_TOKEN as the password.",
            headers={"WWW-Authenticate": 'Basic realm="Signpost status", charset="UTF-8"'},
        )


class StatusAccess:
    """Knows STATUS_PAGE and METRICS_TOKEN."""

    def __init__(self, page: str, token: str | None, limits: AddressLimits) -> None:
        self._page = page
        self._token = token
        self._limits = limits
        # Addresses that brought the token, whose page asks again all the time: no tries.
        self._known: OrderedDict[str, None] = OrderedDict()

    def check(self, given: Authorization | None, address: str) -> bool:
        """Whether everything may be told, also reasons; without the token only states are.

        Raises:
            NotFound: there is no page, or none for anybody.
            TokenNeeded: the page is private, and it is not the token.
            TooManyTries: this address has tried too often.
        """
        if self._page == OFF or (self._page == PRIVATE and self._token is None):
            raise NotFound("The status page is served where STATUS_PAGE and METRICS_TOKEN say so.")
        password = _password(given)
        if password is None or self._token is None:
            if self._page == PUBLIC:
                return False
            raise TokenNeeded
        right = is_token(password, self._token)
        # Also the right one is a try, or guessing would go on past the limit and still succeed.
        if not right or address not in self._known:
            self._known.pop(address, None)
            self._limits.hit(TRIES, address)
        if not right:
            raise TokenNeeded
        self._known[address] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return True


def _password(given: Authorization | None) -> str | None:
    """What a browser was told by a person (Basic), or what a script sends (Bearer)."""
    if given is None or given.type not in ("basic", "bearer"):
        return None
    return given.password if given.type == "basic" else given.token
