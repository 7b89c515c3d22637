"""The comparisons: what is measured beside what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from api.core.embedded.errors import EmbeddedError
from bench.arena import Arena
from bench.contestants import Account, Contestant
from bench.cores import Cores
from bench.express import Express
from bench.floors import BareFlask, BareWsgi, FairFlask, FlaskApi, Nginx
from bench.rounds import Effort, Figures, Progress, Subject, compare
from bench.signpost import Signpost
from bench.wrk import Requests

_WORKERS = (1, 2)
_NEW_LINK = '{"url": "https://example.com/article/%d?utm_source=newsletter&utm_medium=email"}'
_FIELDS = {"id", "slug", "short_url", "url", "title", "expires_at", "clicks", "created_at"}
_LISTS = (10, 50)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Figures that were measured together."""

    part: str
    title: str
    figures: list[Figures]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All parts, each with contestants of its own."""

    arena: Arena
    effort: Effort
    connections: Sequence[int]
    progress: Progress

    def redirects(self) -> Iterator[Comparison]:
        """What a redirect costs, beside rivals and floors."""
        folder, cores = self._folder("redirects"), self._cores(1)
        slow = {"REDIRECT_FAST_PATH": "false"}
        contestants = [
            Nginx(folder, cores),
            BareWsgi(folder, cores),
            BareFlask(folder, cores),
            self._express(folder),
            self._signpost(folder, name="Signpost, fast path off", settings=slow),
            self._signpost(folder),
        ]
        with _started(contestants):
            yield self._visit("redirects", "Redirects", contestants, self.effort)

    def api(self) -> Iterator[Comparison]:
        """Reading, listing and creating links."""
        folder = self._folder("api")
        express, signpost = self._express(folder), self._signpost(folder)
        floor = FlaskApi(folder, self._cores(1))
        with _started([floor, express, signpost]):
            keys: dict[Contestant, str] = {
                floor: "", express: express.key, signpost: self.arena.servers.key,
            }  # fmt: skip
            ids = {floor: self.arena.ids, express: express.link_ids(), signpost: self.arena.ids}
            subjects = [_get(one, keys[one], ids[one]) for one in keys]
            yield self._measure("api", "Get a link", subjects)
            for many in _LISTS:
                subjects = [_list(one, keys[one], many) for one in keys]
                yield self._measure("api", f"List {many} links", subjects)
            subjects = [_create(one, keys[one]) for one in keys]
            yield self._measure("api", "Create a link", subjects)

    def fairness(self) -> Iterator[Comparison]:
        """What a request through Flask waits for others: gunicorn's own worker class, and ours."""
        folder, cores = self._folder("fairness"), self._cores(1)
        slow = {"REDIRECT_FAST_PATH": "false"}
        stock = self._signpost(
            folder,
            name="Signpost, gunicorn's worker",
            settings=slow,
            arguments=["--worker-class", "gevent"],
        )
        signpost = self._signpost(folder)
        routes = [BareFlask(folder, cores), FairFlask(folder, cores)]
        with _started([*routes, stock, signpost]):
            title = "A bare Flask route, by worker class"
            yield self._visit("fairness", title, routes, self.effort)
            key = self.arena.servers.key
            subjects = [_get(one, key, self.arena.ids) for one in (stock, signpost)]
            yield self._measure("fairness", "Get a link, by worker class", subjects)

    def few_and_many(self) -> Iterator[Comparison]:
        """Redirects over few and many connections."""
        folder = self._folder("connections")
        contestants = [self._express(folder), self._signpost(folder)]
        with _started(contestants):
            for number in self.connections:
                title = f"Redirects, {number:,} connection{'s' * (number > 1)}"
                effort = replace(self.effort, connections=number)
                yield self._visit("connections", title, contestants, effort)

    def workers(self) -> Iterator[Comparison]:
        """Redirects with one worker process and with two."""
        for number in _WORKERS:
            folder = self._folder(f"workers{number}")
            contestants = [self._express(folder, number), self._signpost(folder, number)]
            title = f"Redirects, {number} worker{'s' * (number > 1)}: {self._cores(number)}"
            with _started(contestants):
                yield self._visit("workers", title, contestants, self.effort)

    def _visit(
        self, part: str, title: str, contestants: Sequence[Contestant], effort: Effort
    ) -> Comparison:
        """Let all links be followed, after each was followed once and found to be right."""
        requests = Requests.of_browser([f"/{link.slug}" for link in self.arena.links])
        subjects = [
            Subject(
                contestant=one,
                requests=requests,
                answered_before=one.check_redirects(self.arena.links),
                account=one.settle if one.records_clicks else None,
            )
            for one in contestants
        ]
        return self._measure(part, title, subjects, effort)

    def _measure(
        self, part: str, title: str, subjects: Sequence[Subject], effort: Effort | None = None
    ) -> Comparison:
        figures = compare(subjects, effort or self.effort, self.progress)
        return Comparison(part=part, title=title, figures=figures)

    def _express(self, folder: Path, workers: int = 1) -> Express:
        express = Express(folder, self._cores(workers), self.arena.servers, workers=workers)
        express.prepare(self.arena.links)
        return express

    def _signpost(self, folder: Path, workers: int = 1, **options: Any) -> Signpost:
        everywhere = self.arena.available
        return Signpost(
            folder,
            self._cores(workers),
            self.arena.servers,
            workers=workers,
            everywhere=everywhere,
            **options,
        )

    def _cores(self, workers: int) -> Cores:
        return Cores.for_workers(workers, self.arena.available)

    def _folder(self, name: str) -> Path:
        folder = self.arena.folder / name
        folder.mkdir(mode=0o711)
        return folder


PARTS = {
    "redirects": Bench.redirects,
    "api": Bench.api,
    "fairness": Bench.fairness,
    "connections": Bench.few_and_many,
    "workers": Bench.workers,
}


def steps(part: str, runs: int, sweep: int) -> int:
    """How many loads a part makes, with so many runs and numbers of connections."""
    subjects = {
        "redirects": 6,
        "api": 3 * (2 + len(_LISTS)),
        "fairness": 4,
        "connections": 2 * sweep,
        "workers": 2 * len(_WORKERS),
    }
    return subjects[part] * (runs + 1)


@contextmanager
def _started(contestants: Sequence[Contestant]) -> Iterator[None]:
    with ExitStack() as stack:
        for one in contestants:
            stack.callback(one.stop)
            one.start()
        yield


def _headers(key: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Accept": "application/json", **more}


def _get(contestant: Contestant, key: str, ids: Sequence[str]) -> Subject:
    requests = Requests(paths=[f"/api/v1/links/{one}" for one in ids], headers=_headers(key))
    _check_link(contestant, _ask(contestant, requests))
    return Subject(contestant=contestant, requests=requests)


def _list(contestant: Contestant, key: str, many: int) -> Subject:
    requests = Requests(paths=[f"/api/v1/links?limit={many}"], headers=_headers(key))
    links = _ask(contestant, requests)["data"]
    if len(links) != many:
        raise EmbeddedError(f"{contestant.name} lists {len(links)} links, not {many}")
    _check_link(contestant, links[0])
    return Subject(contestant=contestant, requests=requests)


def _create(contestant: Contestant, key: str) -> Subject:
    headers = _headers(key, **{"Content-Type": "application/json"})
    requests = Requests(
        paths=["/api/v1/links"], headers=headers, method="POST", status=201, body=_NEW_LINK
    )
    _check_link(contestant, _ask(contestant, requests))
    if not isinstance(contestant, Express | Signpost):
        return Subject(contestant=contestant, requests=requests)
    before = contestant.link_count()

    def account() -> Account:
        time.sleep(1)  # the last requests may still be at work
        return Account(contestant.link_count() - before, 0.0)

    return Subject(contestant=contestant, requests=requests, account=account)


def _check_link(contestant: Contestant, link: dict[str, Any]) -> None:
    missing = _FIELDS - link.keys()
    if missing:
        raise EmbeddedError(f"{contestant.name} shows links without {sorted(missing)[0]}")


def _ask(contestant: Contestant, requests: Requests) -> Any:
    """Ask once, as the load will."""
    body = requests.body % 1 if requests.body else None
    with closing(HTTPConnection("127.0.0.1", contestant.port, timeout=10)) as connection:
        connection.request(requests.method, requests.paths[0], body, dict(requests.headers))
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != requests.status:
        raise EmbeddedError(f"{contestant.name} answered {answer.status}: {text[:200]!r}")
    return json.loads(text)
