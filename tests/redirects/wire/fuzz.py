"""The comparison on bytes that nobody thought of."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyFailure

from tests.redirects.wire.mutations import messages
from tests.redirects.wire.pair import Difference, Pair
from tests.redirects.wire.talk import Message

_AT_ONCE = 200


def compare_messages(pair: Pair, count: int, first: int) -> None:
    """Compare the servers on `count` messages of the seed `first`.

    Raises:
        Difference: on a message as small as could be found.
    """

    @seed(first)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(message=messages())
    def check(message: Message) -> None:
        pair.compare(message)

    try:
        check()
    except FlakyFailure as error:
        raise Difference(f"seen once, and not again:\n{error.exceptions[0]}") from None


def compare_for(
    pair: Pair, seconds: float, first: int, on_progress: Callable[[float], None]
) -> int:
    """Compare for so long; answers how many messages. `on_progress` gets the seconds gone, and
    may raise to end it.

    Raises:
        Difference: see `compare_messages`.
    """
    started = time.monotonic()
    count = 0
    while (gone := time.monotonic() - started) < seconds:
        on_progress(gone)
        compare_messages(pair, _AT_ONCE, first + count)
        count += _AT_ONCE
    on_progress(seconds)
    return count
