"""The first thing that the product is for: create a link, follow it, count it, ask about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"


class Site(Protocol):
    """An installation, by whichever way it is reached, and a workspace that nobody else uses."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API; the parsed JSON of a success."""

    def follow(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str | None]:
        """Follow a link; the status, and where it leads."""


def tell_story(site: Site, slug: str, count: Callable[[str], None]) -> None:
    """Create a link, follow it, and see the clicks in its statistics.

    `count` is called with the link's id, and waits until its four clicks are counted.
    """
    target = "https://example.com/spring"
    link = site.call("POST", "/links", {"url": target, "slug": slug, "tags": ["spring"]})
    person = {
        "User-Agent": _FIREFOX,
        "Referer": "https://news.example.org/item?id=1",
        "Accept-Language": "de-DE,de;q=0.9",
    }
    for query in ("", "?utm_source=newsletter"):
        assert site.follow("GET", f"/{slug}{query}", person) == (302, target)
    assert site.follow("GET", f"/{slug}", {"User-Agent": "curl/8.8.0"})[0] == 302
    assert site.follow("HEAD", f"/{slug}", {"User-Agent": _FIREFOX})[0] == 302

    count(link["id"])

    assert site.call("GET", f"/links/{link['id']}")["clicks"] == 4
    people = site.call("GET", f"/links/{link['id']}/stats?group_by=browser")
    assert people["total"] == {"clicks": 2, "visitors": 1}
    assert people["groups"] == [{"value": "Firefox", "clicks": 2, "visitors": 1}]
    everybody = site.call("GET", "/stats?group_by=utm_source&bots=include&interval=hour")
    assert everybody["total"]["clicks"] == 4
    assert {group["value"]: group["clicks"] for group in everybody["groups"]} == {
        None: 3,
        "newsletter": 1,
    }
    clicks = site.call("GET", f"/links/{link['id']}/clicks")["data"]
    assert sorted(click["bot"] for click in clicks) == [False, False, True, True]
    seen = [click for click in clicks if not click["bot"]]
    assert {click["language"] for click in seen} == {"de"}
    assert {click["referrer"] for click in seen} == {"news.example.org"}
