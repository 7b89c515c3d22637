"""Parsing of target addresses by the WHATWG URL standard, and what may be a target."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from urllib.parse import unquote_plus, urlsplit

import ada_url

from api.core.addresses import leads_inside
from api.core.errors import Invalid

MAX_URL_LENGTH = 8192
# These run code or show content in the name of the page that leads to them.
_NEVER = frozenset({"javascript", "data", "vbscript", "blob", "file", "about", "view-source"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WEB_PORTS = frozenset(_DEFAULT_PORTS.values())
# What no parser reads in another way: a name whose last label is no number.
_PLAIN_HOST = re.compile(r"https?://((?:[a-z][a-z0-9]*\.)+[a-z]+)(?=[/?#]|\Z)")


class TargetRules:
    """Which addresses a link may point to."""

    def __init__(
        self,
        schemes: Collection[str],
        public_url: str,
        is_short_domain: Callable[[str], bool],
        *,
        allow_private: bool = True,
    ) -> None:
        """`allow_private`: also to one's own machine and network."""
        self._schemes = frozenset(scheme.lower() for scheme in schemes) - _NEVER
        public = urlsplit(public_url)
        self._own_host = (public.hostname or "").lower()
        self._own_port = public.port or _DEFAULT_PORTS[public.scheme]
        self._is_short_domain = is_short_domain
        self._allow_private = allow_private

    def normalise(self, text: str, pointer: str = "/url") -> str:
        """The address as a browser would write it: ASCII only, so it is safe in a header.

        Raises:
            Invalid: it is not an absolute URL, its scheme is not allowed, it is one of our own
                short domains (the redirect would lead to itself), or, where that is refused, it
                leads into somebody's own network.
        """
        try:
            url = ada_url.URL(text)
        except ValueError:
            raise Invalid.field(pointer, "Not a valid absolute URL.") from None
        href = str(url.href)
        scheme = href.partition(":")[0]
        if scheme not in self._schemes:
            allowed = ", ".join(sorted(self._schemes))
            raise Invalid.field(pointer, f"The scheme {scheme!r} is not allowed ({allowed}).")
        if len(href) > MAX_URL_LENGTH:
            raise Invalid.field(pointer, f"Longer than {MAX_URL_LENGTH} characters when encoded.")
        plain = _PLAIN_HOST.match(href)
        host = plain[1] if plain else _plain_host(url)
        if scheme in _DEFAULT_PORTS and self._leads_back(url, host, scheme):
            raise Invalid.field(pointer, "Leads back to a short domain of this service.")
        if not self._allow_private and host and leads_inside(host):
            raise Invalid.field(
                pointer, "Leads to a private address, or a name of a network's own."
            )
        return href

    def _leads_back(self, url: ada_url.URL, host: str, scheme: str) -> bool:
        if host == self._own_host:
            # Another service may live at another port. Plain HTTP and HTTPS are one place: either
            # is redirected to the other.
            port = int(url.port) if url.port else _DEFAULT_PORTS[scheme]
            return port == self._own_port or {port, self._own_port} <= _WEB_PORTS
        return self._is_short_domain(host)


def host_of(text: str) -> str | None:
    """The host of an address, as domains are spelled; None where it has none."""
    if plain := _PLAIN_HOST.match(text):
        return plain[1]
    try:
        return _plain_host(ada_url.URL(text)) or None
    except ValueError:
        return None


def _plain_host(url: ada_url.URL) -> str:
    return str(url.hostname).strip("[]").rstrip(".").lower()


def with_query(target: str, query: str) -> str:
    """`target` with the visitor's query added; where both name a parameter, the visitor's counts.

    Raises nothing: `query` is taken as text and encoded by the URL parser.
    """
    if not query:
        return target
    url = ada_url.URL(target)
    given = {_name_of(pair) for pair in query.split("&") if pair}
    own = url.search.removeprefix("?").split("&")
    # Pair by pair as they are written: to parse them all and write them anew would change those
    # that are no text, or are not of this form at all.
    kept = "&".join(pair for pair in own if not pair or _name_of(pair) not in given)
    # The setter drops a leading question mark; ours, rather than one of the query's own.
    url.search = f"?{kept}&{query}" if kept else f"?{query}"
    return str(url.href)


def _name_of(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])
