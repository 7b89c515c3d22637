"""Browser, system, device and bot of a `User-Agent` header."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import crawleruseragents
import ua_parser_rs
from ua_parser import BestAvailableResolver, Domain, load_lazy_builtins

from api.clicks.enrichment.text import clean

_LIMIT = 100

# The device tells small screens apart, so "Chrome Mobile iOS" counts as "Chrome".
_BROWSER_VARIANT = re.compile(
    r"^Mobile (?=Safari|Firefox)| (?:Mobile|iOS|WebView|UI/WKWebView)(?: WebView| iOS)?$"
)
_SYSTEMS = {"Mac OS X": "macOS", "ATV OS X": "tvOS", "Web0S": "webOS"}

_TV = re.compile(
    r"smart-?_?tv|apple ?tv|google ?tv|android tv|hbbtv|netcast|web0s|roku|bravia|crkey|"
    r"\baft[a-z]{1,4}\b|\btv\b",
    re.IGNORECASE,
)
_TABLET = re.compile(
    r"ipad|tablet(?! pc)|kindle|playbook|\bsilk/(?!.*mobile)|android(?!.*mobile)", re.IGNORECASE
)
_MOBILE = re.compile(r"mobi|iphone|ipod|android|phone|blackberry|opera mini", re.IGNORECASE)
_CONSOLE = re.compile(r"playstation|xbox|nintendo", re.IGNORECASE)
_DESKTOP = re.compile(r"windows nt|macintosh|x11|linux|cros |freebsd|openbsd", re.IGNORECASE)


class Agent(NamedTuple):
    """What a user agent says of itself; empty where it does not tell."""

    browser: str
    system: str
    device: str  # desktop, mobile, tablet, tv, bot or other
    bot: bool


class AgentParser:
    """Parses user agents; made once per process, as it compiles thousands of patterns."""

    def __init__(self, cache_entries: int = 20_000) -> None:
        self._resolve = BestAvailableResolver(load_lazy_builtins())
        # The library's own matching takes 250 µs; the engine that ua-parser uses, given the same
        # patterns, takes 3.
        self._crawlers = ua_parser_rs.UserAgentExtractor(
            [
                (item["pattern"], "bot", None, None, None, None)
                for item in crawleruseragents.CRAWLER_USER_AGENTS_DATA
            ]
        )
        self.parse = lru_cache(cache_entries)(self._parse)

    def _parse(self, user_agent: str) -> Agent:
        text = clean(user_agent, len(user_agent))
        if not text:
            return Agent("", "", "bot", bot=True)
        found = self._resolve(text, Domain.ALL)
        spider = found.device is not None and found.device.family == "Spider"
        bot = spider or self._crawlers.extract(text) is not None
        browser = found.user_agent.family if found.user_agent else ""
        system = found.os.family if found.os else ""
        return Agent(
            browser=clean(_BROWSER_VARIANT.sub("", browser), _LIMIT),
            system=clean(_SYSTEMS.get(system, system), _LIMIT),
            device="bot" if bot else _device(text),
            bot=bot,
        )


def _device(text: str) -> str:
    if _TV.search(text):
        return "tv"
    if _CONSOLE.search(text):
        return "other"
    if _TABLET.search(text):
        return "tablet"
    if _MOBILE.search(text):
        return "mobile"
    return "desktop" if _DESKTOP.search(text) else "other"
