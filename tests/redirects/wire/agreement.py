"""The fast path beside gunicorn's parsers, in one process: what it takes for a request is one.

Some ten thousand times as many bytes as servers can be asked: what the fast path answers, both of
gunicorn's parsers must read as the same request, with nothing behind it and nothing to close for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import default_environ

from api.clicks.records import (
    FLAG_HEAD,
    FLAG_PREFETCH,
    MAX_QUERY,
    MAX_TEXT,
    ClickRecord,
    header_line,
    read_segment,
)
from api.clicks.spool import Spool
from api.core.client import client_address
from api.core.requests import REQUEST_ID
from api.core.transport import Transport
from api.redirects.cache import Target, TargetCache
from api.redirects.fast import FastPath
from api.redirects.prepared import PreparedAnswers
from api.redirects.speculation import PURPOSES, is_speculative
from config.settings import Settings
from tests.redirects.wire.corpus import PLAIN, get
from tests.redirects.wire.corpus_fields import BROWSER, CASES
from tests.redirects.wire.links import HOST, OWN_DOMAIN
from tests.redirects.wire.mutations import BITS, ODD_LINES
from tests.redirects.wire.talk import PROXY, STRANGER, TRUSTED_PROXIES

_TRUSTED = [ip_network(TRUSTED_PROXIES)]
_SLUGS = ("plain", "moved", "a.b-c_d", "0", "UPPER")
_HOSTS = (HOST, OWN_DOMAIN, f"{HOST}:8443")
_AT_ONCE = 5_000
_TARGET = Target(
    slot=1,
    id=4711,
    workspace_id=7,
    url="https://target.example/",
    starts_at=None,
    expires_at=None,
    limited=False,
    password_hash=None,
    redirect_status=302,
    forward_query=False,
    enabled=True,
    deleted=False,
)


class Disagreement(AssertionError):
    """The fast path answered what gunicorn reads as something else."""


class Referee:
    """Shows the same bytes to all three."""

    def __init__(self, folder: Path) -> None:
        cache = TargetCache(
            entries=100,
            size_bytes=1_000_000,
            synced_seconds=86_400.0,
            unsynced_seconds=86_400.0,
            stale_seconds=1.0,
        )
        answers = PreparedAnswers(cache, 100, lambda _key: None)
        for host in _HOSTS:
            for slug in _SLUGS:
                key = f"{host}/{slug}"
                cache.put(key, _TARGET, cache.generation(key))
                answers.put(key.encode(), key)
        transport = Transport(Settings.load({"TRUSTED_PROXIES": TRUSTED_PROXIES}))
        self._fast = FastPath(answers, Spool(folder, 1_000_000, 1.0, 1_000_000), transport)
        self._configs = [_config("fast"), _config("python")]

    def judge(self, data: bytes, peer: str) -> bool:
        """Whether the fast path answers `data`.

        Raises:
            Disagreement: it does, and should not, or not so.
        """
        answered = self._fast.answer(data, peer)
        if answered is None:
            return False
        line, answer = answered
        (click,) = read_segment(header_line("s", 1) + line).records
        for config in self._configs:
            try:
                self._check(config, data, peer, click, answer)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise Disagreement(f"{config.http_parser} parser: {reason}\n{data!r}") from error
        return True

    @staticmethod
    def _check(config: Config, data: bytes, peer: str, click: ClickRecord, answer: bytes) -> None:
        parser = RequestParser(config, iter([data]), (peer, 4711))
        request: Request = next(parser)
        assert not request.should_close(), "it ends the connection"
        assert request.body.read() == b"", "it has a body"
        assert request.unreader.take_buffered() == b"", "something follows it"
        environ = default_environ(request, None, config)
        fields: dict[str, str] = {}
        for name, value in request.headers:
            assert name not in fields, f"{name} comes twice"
            fields[name] = value
        assert f"{fields['HOST']}{request.path}".partition("/")[0] in _HOSTS, "another host"
        assert request.path.removeprefix("/") in _SLUGS, "another link"
        forwarded = fields.get("X-FORWARDED-FOR", "")
        purposes = " ".join(fields.get(name.upper(), "") for name in PURPOSES)
        flags = FLAG_HEAD if environ["REQUEST_METHOD"] == "HEAD" else 0
        flags |= FLAG_PREFETCH if is_speculative(purposes) else 0
        assert click[3:] == (
            client_address(peer, forwarded, _TRUSTED),
            fields.get("USER-AGENT", "")[:MAX_TEXT],
            fields.get("REFERER", "")[:MAX_TEXT],
            fields.get("ACCEPT-LANGUAGE", "")[:MAX_TEXT],
            environ["QUERY_STRING"][:MAX_QUERY],
            flags,
        ), "another click"
        given = fields.get("X-REQUEST-ID", "")
        echoed = answer.split(b"X-Request-ID: ")[1].split(b"\r\n")[0].decode()
        assert (echoed == given) == bool(REQUEST_ID.fullmatch(given)), "another request id"


def odd_requests(chance: random.Random) -> Iterator[bytes]:
    """Requests that are nearly plain, without an end."""
    starts = [PLAIN, get("/plain?a=b", *BROWSER), get("/moved", "X-Request-ID: given-0001")] * 40
    starts += [case for case in CASES.values() if len(case) < 2_000]
    starts += [start.replace(b"GET", b"HEAD", 1) for start in starts[:40]]
    while True:
        data = chance.choice(starts)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            data = _change(data, chance)
        yield data


def _change(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    kind = chance.randrange(6)
    if kind == 0:
        return data[:place] + chance.choice(BITS) + data[place:]
    if kind == 1:
        return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
    if kind == 2:
        return data[:place] + data[place + chance.randint(1, 8) :]
    lines = data.split(b"\r\n")
    number = chance.randrange(len(lines))
    if kind == 3:
        lines[number] = lines[number].swapcase()
    else:
        lines.insert(number, chance.choice(ODD_LINES) if kind == 4 else chance.choice(lines))
    return b"\r\n".join(lines)


def judge_many(referee: Referee, chance: random.Random, count: int) -> int:
    """Judge so many requests, from a proxy and a stranger; answers how many were answered."""
    requests = odd_requests(chance)
    return sum(
        referee.judge(next(requests), chance.choice((PROXY, STRANGER))) for _ in range(count)
    )


def judge_for(
    referee: Referee, seconds: float, seed: int, on_progress: Callable[[float], None]
) -> tuple[int, int]:
    """Judge for so long; answers how many requests, and how many of them were answered.
    `on_progress` gets the seconds gone, and may raise to end it."""
    started = time.monotonic()
    chance = random.Random(seed)
    count = answered = 0
    while (gone := time.monotonic() - started) < seconds:
        on_progress(gone)
        answered += judge_many(referee, chance, _AT_ONCE)
        count += _AT_ONCE
    on_progress(seconds)
    return count, answered


def _config(parser: str) -> Config:
    """gunicorn's settings, as far as config/gunicorn.py changes what parsers do."""
    config = Config()
    config.set("http_parser", parser)
    config.set("limit_request_line", 8190)
    config.set("limit_request_fields", 100)
    config.set("limit_request_field_size", 8190)
    config.set("forwarded_allow_ips", "")
    config.set("forwarder_headers", "")
    config.set("secure_scheme_headers", {})
    return config
