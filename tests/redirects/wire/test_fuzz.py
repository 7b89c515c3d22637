"""Bytes that nobody thought of; `scripts/fuzz-wire` goes on for longer."""

from __future__ import annotations

from tests.redirects.wire.fuzz import compare_messages
from tests.redirects.wire.pair import Pair

_MESSAGES = 500
_SEED = 1  # the suite is the same each time; the script is not


def test_nobody_can_tell_the_servers_apart(pair: Pair) -> None:
    compare_messages(pair, _MESSAGES, _SEED)
