"""What the fast path answers, gunicorn's parsers read as the same request."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.redirects.wire.agreement import Disagreement, Referee, judge_many
from tests.redirects.wire.corpus_fields import CASES
from tests.redirects.wire.talk import PROXY, STRANGER

_REQUESTS = 40_000


@pytest.fixture
def referee(tmp_path: Path) -> Referee:
    return Referee(tmp_path)


@pytest.mark.parametrize("peer", [STRANGER, PROXY])
def test_parsers_agree_on_the_corpus(referee: Referee, peer: str) -> None:
    answered = sum(referee.judge(case, peer) for case in CASES.values())

    # Neither nothing nor most of it: the corpus is odd, and some of it is odd in what is ignored.
    assert 0.1 < answered / len(CASES) < 0.5


def test_parsers_agree_on_what_nobody_thought_of(referee: Referee) -> None:
    answered = judge_many(referee, random.Random(1), _REQUESTS)

    assert answered > _REQUESTS / 10


def test_disagreement_is_noticed(referee: Referee) -> None:
    referee._fast._transport.trusted = ()

    with pytest.raises(Disagreement, match="another click"):
        referee.judge(CASES["forwarding/for"], PROXY)
