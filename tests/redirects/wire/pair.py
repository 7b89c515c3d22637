"""Two servers over one database, asked the same, byte for byte."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from api.clicks.records import ClickRecord
from config.settings import Settings
from tests.redirects.wire.answers import Conversation, differences, redirects_to
from tests.redirects.wire.links import HOST, LINKS, OWN_DOMAIN, TARGET, make_key, make_links
from tests.redirects.wire.server import WebServer
from tests.redirects.wire.talk import TRUSTED_PROXIES, Message, talk

_SETTINGS = {
    "BASE_URL": f"http://{HOST}",
    "TRUSTED_PROXIES": TRUSTED_PROXIES,
    # What a server knows shall not run out while it is compared, nor what it lets pass.
    "REDIRECT_CACHE_SECONDS": "3600",
    "PASSWORD_TRIES_PER_MINUTE": "10000",
}
# A worker learns of Redis, and so keeps links for long, a moment after it has started.
_WARM_UP_ROUNDS = 3
_AT_A_TIME = 8


class Difference(AssertionError):
    """The two servers can be told apart."""


@dataclass
class Seen:
    """What one server answered and wrote."""

    conversation: Conversation
    clicks: list[ClickRecord]


@dataclass
class Side:
    """One of the servers. `port` is where it is reached, perhaps through something between."""

    name: str
    server: WebServer
    port: int
    redirects: int = 0
    clicks: int = 0

    def visit(self, message: Message) -> Conversation:
        """Send a message."""
        conversation = talk(self.port, message)
        self.redirects += redirects(conversation)
        return conversation

    def read_clicks(self) -> list[ClickRecord]:
        """What was written since the last call."""
        clicks = self.server.spool.read()
        self.clicks += len(clicks)
        return clicks


class Pair:
    """Usable as a context, which starts and stops both; the balance is checked at its end."""

    def __init__(self, folder: Path, settings: Mapping[str, str], **changes: str) -> None:
        settings = {**settings, **_SETTINGS, **changes}
        self._settings = Settings.load({**settings, "SIGNPOST_HOME": str(folder / "fast")})
        self.fast = self._side("fast", folder, settings, fast=True)
        self.plain = self._side("plain", folder, settings, fast=False)
        self._pool = ThreadPoolExecutor(2)

    @staticmethod
    def _side(name: str, folder: Path, settings: Mapping[str, str], *, fast: bool) -> Side:
        server = WebServer(folder / name, settings, fast=fast, stock=not fast)
        return Side(name, server, server.port)

    @property
    def sides(self) -> tuple[Side, Side]:
        """The one with the fast path, then the one without."""
        return self.fast, self.plain

    def __enter__(self) -> Self:
        for side in self.sides:
            side.server.start()
        try:
            for side in self.sides:
                side.server.wait_ready()
            self.key = make_key(self._settings)
            make_links(self.plain.server, self.key)
            self.warm_up()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        statuses = self._stop()
        if kind is None:
            assert statuses == [0, 0], statuses
            self.check_balance()

    def _stop(self) -> list[int]:
        self._pool.shutdown()
        for side in self.sides:
            side.server.ask_to_stop()
        return [side.server.stop() for side in self.sides]

    def warm_up(self) -> None:
        """Have every link in both processes, as far as links are kept there."""
        self.ask(Message((request("/used-up"),)))
        for _ in range(_WARM_UP_ROUNDS):
            for slug in LINKS:
                self.compare(Message((request(f"/{quote(slug)}"),)))
            for slug in ("plain", "only-here"):
                self.compare(Message((request(f"/{slug}", OWN_DOMAIN),)))
            time.sleep(0.2)

    def ask(self, message: Message) -> tuple[Seen, Seen]:
        """Send a message to both, each over a connection of its own."""
        said = list(self._pool.map(lambda side: side.visit(message), self.sides))
        fast, plain = (
            Seen(conversation, side.read_clicks())
            for side, conversation in zip(self.sides, said, strict=True)
        )
        return fast, plain

    def compare(self, message: Message) -> Seen:
        """Send a message to both; answers what both said.

        Raises:
            Difference: a client could tell them apart, or an operator by their clicks.
        """
        fast, plain = self.ask(message)
        problems = [*_problems(fast, plain), *self._unbalanced(fast, plain)]
        if problems:
            raise Difference("\n".join([*problems, str(message)]))
        return plain

    def compare_together(self, messages: Sequence[Message]) -> list[Conversation]:
        """Send messages to both, some at a time; answers what both said to each.

        Raises:
            Difference: see `compare`; of the clicks only all together are compared.
        """
        both = []
        for side in self.sides:
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                said = list(pool.map(partial(talk, side.port), messages))
            answered, clicks = sum(map(redirects, said)), side.read_clicks()
            assert answered == len(clicks), (side.name, answered, len(clicks))
            side.redirects += answered
            both.append((said, clicks))
        (fast, fast_clicks), (plain, plain_clicks) = both
        problems = [
            "\n".join([*found, str(message)])
            for one, other, message in zip(fast, plain, messages, strict=True)
            if (found := _problems(Seen(one, []), Seen(other, [])))
        ]
        left, right = Counter(map(_lasting, fast_clicks)), Counter(map(_lasting, plain_clicks))
        if left != right:
            problems.append(f"clicks:\n{differences(left, right)}")
        if problems:
            raise Difference("\n\n".join(problems))
        return plain

    @staticmethod
    def _unbalanced(*both: Seen) -> list[str]:
        return [
            f"{count} redirects were answered, and {len(seen.clicks)} clicks written"
            for seen in both
            if (count := redirects(seen.conversation)) != len(seen.clicks)
        ]

    def check_balance(self) -> None:
        """Over all that was asked: as many clicks as redirects, the same visits without a link.

        Both servers must have stopped, so that all is written.
        """
        for side in self.sides:
            late = side.server.spool.read()
            assert not late, f"{side.name} wrote clicks that nobody was answered: {late}"
            assert side.redirects == side.clicks, (side.name, side.redirects, side.clicks)
            assert not side.server.errors, side.server.errors[0]
        assert self.fast.clicks == self.plain.clicks
        fast, plain = (Counter(side.server.spool.orphans) for side in self.sides)
        if fast != plain:
            raise Difference(f"visits without a link:\n{differences(fast, plain)}")


def redirects(conversation: Conversation) -> int:
    """How many visitors were sent on to where a link leads."""
    return redirects_to(conversation, TARGET.encode())


def _problems(fast: Seen, plain: Seen) -> list[str]:
    problems = []
    if fast.conversation != plain.conversation:
        problems.append(
            f"--- with the fast path ---\n{fast.conversation}\n"
            f"--- without it ---\n{plain.conversation}"
        )
    left, right = Counter(map(_lasting, fast.clicks)), Counter(map(_lasting, plain.clicks))
    if left != right:
        problems.append(f"clicks:\n{differences(left, right)}")
    if not (fast.conversation.ended and plain.conversation.ended):
        problems.append("a connection was not closed after its end")
    return problems


def _lasting(click: ClickRecord) -> tuple[Any, ...]:
    """What does not depend on the moment."""
    return click[1:]


def request(target: str, host: str = HOST, *lines: str, method: str = "GET") -> bytes:
    """A plain request."""
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


def follow_up() -> bytes:
    """A redirect with an id that its answer must echo."""
    number = secrets.token_hex(8)
    return request(f"/plain?after={number}", HOST, f"X-Request-ID: after-{number}")
