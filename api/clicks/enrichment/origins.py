"""Where a visitor comes from and what for: referrer, language, campaign."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ada_url import URL

from api.clicks.enrichment.text import clean, decoded

_CACHE_ENTRIES = 20_000
_MAX_UTM = 200
_MAX_HOST = 253
_APP_HOST = re.compile(r"[A-Za-z0-9._-]+")
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:-|$)")
_QUALITY = re.compile(r"q=(1(?:\.0{0,3})?|0(?:\.[0-9]{0,3})?)")


class Campaign(NamedTuple):
    """The UTM fields of a query."""

    source: str = ""
    medium: str = ""
    campaign: str = ""
    term: str = ""
    content: str = ""


_NONE = Campaign()


@lru_cache(_CACHE_ENTRIES)
def referrer_host(referrer: str) -> str:
    """Host of a web page or Android app, in lower case and ASCII, without a leading `www.`."""
    text = clean(decoded(referrer), len(referrer))
    try:
        if text[:14].lower().startswith("android-app://"):
            host = urlsplit(text).netloc
            return host.lower()[:_MAX_HOST] if _APP_HOST.fullmatch(host) else ""
        url = URL(text)
    except ValueError:
        return ""
    if url.protocol not in ("http:", "https:"):
        return ""
    host = str(url.hostname).rstrip(".").removeprefix("www.")
    return host if len(host) <= _MAX_HOST else ""


@lru_cache(_CACHE_ENTRIES)
def preferred_language(header: str) -> str:
    """Primary subtag (`pt` of `pt-BR`) of the language that Accept-Language ranks first.

    The region says little that the country does not, and would split every language.
    """
    best, best_quality = "", 0.0
    for part in header.lower().split(","):
        tag, _, parameter = part.partition(";")
        language = _LANGUAGE.match(tag.strip())
        if not language:
            continue
        quality = _quality(parameter.strip())
        if quality > best_quality:
            best, best_quality = language[1], quality
    return best


@lru_cache(_CACHE_ENTRIES)
def campaign(query: str) -> Campaign:
    """The UTM fields, decoded; of a field that comes twice the first counts."""
    if "utm" not in query.lower():
        return _NONE
    found: dict[str, str] = {}
    for name, value in parse_qsl(decoded(query), errors="replace"):
        prefix, _, field = name.lower().partition("utm_")
        if prefix == "" and field in Campaign._fields:
            found.setdefault(field, clean(value, _MAX_UTM))
    return Campaign(**found)


def _quality(parameter: str) -> float:
    if not parameter:
        return 1.0
    quality = _QUALITY.fullmatch(parameter)
    return float(quality[1]) if quality else 0.0
