"""Each entry of the corpus, however it is cut into packets, and whoever sends it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.redirects.wire.corpus import PLAIN, get
from tests.redirects.wire.corpus_fields import BROWSER, CASES
from tests.redirects.wire.pair import Pair, follow_up
from tests.redirects.wire.talk import PROXY, STRANGER, Message

# A dribble of more packets than this takes long and tells nothing new.
_MOST_PIECES = 400


@pytest.mark.parametrize("name", CASES)
def test_nobody_can_tell_the_servers_apart(pair: Pair, name: str) -> None:
    case = CASES[name]
    for peer in (STRANGER, PROXY):
        pair.compare(Message((case,), peer, follow_up()))
    pair.compare(Message(_cut_at_random(case, random.Random(name)), STRANGER, follow_up()))


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name]) <= _MOST_PIECES])
@pytest.mark.slow
def test_nobody_can_tell_the_servers_apart_byte_by_byte(pair: Pair, name: str) -> None:
    pieces = tuple(bytes([byte]) for byte in CASES[name])
    pair.compare(Message(pieces, STRANGER, follow_up()))


@pytest.mark.parametrize(
    "case",
    [
        PLAIN,
        get("/plain?q=1", "User-Agent: me", "X-Request-ID: given-0001"),
        get("/plain", "Content-Length: 3") + b"abc",
        PLAIN + PLAIN,
    ],
    ids=["plain", "fields", "body", "two"],
)
def test_request_may_be_cut_anywhere(pair: Pair, case: bytes) -> None:
    for place in range(1, len(case)):
        pair.compare(Message((case[:place], case[place:]), STRANGER, follow_up()))


def test_browser_may_send_byte_by_byte(pair: Pair) -> None:
    case = get("/plain?q=1", *BROWSER)
    seen = pair.compare(Message(tuple(bytes([byte]) for byte in case), PROXY, follow_up()))

    assert [answer.code for answer in seen.conversation.answers] == [302, 302]


def _cut_at_random(case: bytes, chance: random.Random) -> tuple[bytes, ...]:
    places = sorted({0, len(case), *(chance.randrange(len(case) + 1) for _ in range(4))})
    return tuple(case[a:b] for a, b in pairwise(places))
