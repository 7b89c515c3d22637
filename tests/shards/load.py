"""Everything that users do, at the same time and without an end; every answer is written down."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from flask import Flask

from tests.caller import Caller
from tests.running import BROWSER
from tests.threads import Threads

_PAUSE_SECONDS = 0.01


class Load(Threads):
    """Threads on two applications; within its context they run."""

    def __init__(self, caller: Caller, other: Flask) -> None:
        self.callers = [
            caller,
            Caller(other, caller.identity, caller.workspace_id, caller.key),
        ]
        # By slug.
        self.links: dict[str, dict[str, Any]] = {}
        self.redirects: Counter[str] = Counter()
        self.titles: dict[str, str] = {}
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.longest_write = 0.0
        tasks = (self._race, self._visit, self._visit, self._change, self._list, self._ask)
        super().__init__(tasks, _PAUSE_SECONDS)

    def create(self, many: int) -> None:
        """Links to begin with."""
        for number in range(many):
            self._note(self.callers[0].create_link(slug=f"first-{number}", tags=["first"]))

    def _note(self, link: dict[str, Any]) -> None:
        self.links[link["slug"]] = link

    def _race(self, number: int) -> None:
        """Both applications want the same slug: one gets it, whoever comes again does not."""
        slug = f"race-{number}"
        answers: list[Any] = [None, None]

        def create(place: int) -> None:
            body = {"url": "https://example.com/", "slug": slug, "tags": ["race"]}
            while True:
                began = time.monotonic()
                answer = self.callers[place].post("/links", body)
                self.longest_write = max(self.longest_write, time.monotonic() - began)
                self.statuses["create", answer.status_code] += 1
                if answer.status_code != 503:
                    break
                assert "Retry-After" in answer.headers
                time.sleep(0.2)
            answers[place] = answer

        threads = [threading.Thread(target=create, args=(place,)) for place in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if sorted(answer.status_code for answer in answers) != [201, 409]:
            self.wrong.append(f"{slug}: {[answer.status_code for answer in answers]}")
        self._note(next(answer.json for answer in answers if answer.status_code == 201))

    def _visit(self, number: int) -> None:
        slugs = list(self.links)
        slug = slugs[number % len(slugs)]
        app = self.callers[number % 2].app
        answer = app.test_client().get(f"/{slug}", headers={"User-Agent": BROWSER})
        self.statuses["visit", answer.status_code] += 1
        if answer.status_code == 302:
            self.redirects[slug] += 1
        else:
            self.wrong.append(f"{slug} answered {answer.status_code}: {answer.text}")

    def _change(self, number: int) -> None:
        """What was changed is read changed at once, by either application."""
        slugs = list(self.links)
        link = self.links[slugs[number * 7 % len(slugs)]]
        one, other = self.callers if number % 2 else self.callers[::-1]
        title = f"title {number}"
        answer = one.patch(f"/links/{link['id']}", {"title": title})
        self.statuses["change", answer.status_code] += 1
        if answer.status_code == 503:
            return
        if answer.status_code != 200:
            self.wrong.append(f"a change answered {answer.status_code}: {answer.text}")
            return
        self.titles[link["slug"]] = title
        read = other.get(f"/links/{link['id']}").json["title"]
        if read != title:
            self.wrong.append(f"{link['slug']} reads {read!r} after {title!r}")

    def _list(self, number: int) -> None:
        """A list has each link once, and all that were there before it was asked for."""
        caller = self.callers[number % 2]
        before = {link["id"] for link in list(self.links.values())}
        query = ("", "&tag=race", "&q=example", "&sort=updated_at")[number % 4]
        found: list[str] = []
        cursor = ""
        while True:
            page = caller.get(f"/links?limit=100{query}{cursor}").json
            found += [link["id"] for link in page["data"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        # A link that is changed meanwhile may come twice, or not at all, in an order by change.
        if query == "&sort=updated_at":
            return
        if len(found) != len(set(found)):
            self.wrong.append(f"a list{query} has {len(found) - len(set(found))} links twice")
        if query in ("", "&q=example") and not before <= set(found):
            self.wrong.append(f"a list{query} lacks {len(before - set(found))} links")

    def _ask(self, number: int) -> None:
        """Statistics never fall."""
        caller = self.callers[number % 2]
        answer = caller.get("/stats")
        self.statuses["stats", answer.status_code] += 1
        clicks = answer.json["total"]["clicks"]
        if clicks < getattr(self, "_clicks", 0):
            self.wrong.append(f"statistics fell from {self._clicks} to {clicks}")
        self._clicks = clicks
