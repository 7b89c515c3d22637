"""Which addresses a rule hits."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.errors import Invalid
from api.targets.rules import HOST, PATTERN, Block, Glob, OwnRules, Rule, RuleSet, kind_of

BLOCK = Block(451, "for a reason")


def hits(value: str, url: str) -> bool:
    rule = Rule.of(kind_of(value), value, BLOCK)
    return RuleSet({0: OwnRules.of([rule])}).block_of(7, url) == BLOCK


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("evil.example", "https://evil.example/"),
        ("EVIL.example.", "https://evil.example/"),
        ("evil.example", "https://evil.example./x"),
        ("evil.example", "https://a.b.evil.example:8443/x"),
        ("evil.example", "https://good.example@evil.example/"),
        ("evil.example", "ftp://evil.example/"),
        ("evil.example", "myapp://EVIL.example/x"),
        ("münchen.example", "https://www.xn--mnchen-3ya.example/"),
        ("192.0.2.1", "http://192.0.2.1/"),
        ("3221225985", "http://192.0.2.1/"),
        ("2001:db8::1", "http://[2001:db8::1]:8080/x"),
        ("[2001:DB8:0::1]", "http://[2001:db8::1]/"),
        ("zip", "https://anything.zip/"),
        ("*/login.php", "https://evil.example/a/login.php"),
        ("https://evil.example/*", "https://evil.example/"),
        ("*//evil.example/*id=*&x=1", "https://evil.example/?id=&x=1"),
        ("*/BAD/*", "https://evil.example/bad/"),
        ("*/bad/*", "https://evil.example/BAD/"),
        ("*/bad/*", "https://evil.example/%62a%64/"),
        ("*/%62ad/*", "https://evil.example/%62ad/"),
        ("https://evil.example/x", "https://evil.example/x"),
        ("mailto:*@evil.example*", "mailto:somebody@evil.example"),
    ],
)
def test_rule_hits(value: str, url: str) -> None:
    assert hits(value, url)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("evil.example", "https://notevil.example/"),
        ("evil.example", "https://evil.example.org/"),
        ("evil.example", "https://example/"),
        ("evil.example", "https://evil.example@good.example/"),
        ("evil.example", "https://good.example/?to=evil.example"),
        ("2.0.0.1", "http://192.0.2.1/"),
        ("*/login.php", "https://evil.example/login.php?x"),
        ("https://evil.example/*", "http://evil.example/"),
        ("https://evil.example/x", "https://evil.example/xy"),
        ("https://a*bc*bc", "https://abc"),
        ("*/a.b", "https://evil.example/aXb"),
        ("*[ab].example/*", "https://a.example/"),
    ],
)
def test_rule_misses(value: str, url: str) -> None:
    assert not hits(value, url)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (HOST, ""),
        (HOST, "evil example"),
        (HOST, "https://evil.example/"),
        (HOST, "*.evil.example"),
        (HOST, "a..b"),
        (HOST, "-"),
        (HOST, "user@evil.example"),
        (PATTERN, "*"),
        (PATTERN, "*a*b*c*"),
        (PATTERN, "*" * 11 + "long enough"),
        (PATTERN, "https://münchen.example/*"),
        (PATTERN, "https://evil.example/a b*"),
        (PATTERN, "x" * 1001),
    ],
)
def test_what_is_no_rule_is_refused(kind: str, value: str) -> None:
    with pytest.raises(Invalid):
        Rule.of(kind, value, BLOCK)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_pattern_hits_what_the_same_regular_expression_does(pattern: str, text: str) -> None:
    import re

    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert Glob(pattern).hits(text) == bool(re.fullmatch(expression, text))


def test_worst_pattern_takes_no_longer_than_the_address_is_long() -> None:
    glob = Glob("*" + "a*" * 8 + "b")
    started = time.perf_counter()
    for _ in range(100):
        assert not glob.hits("a" * 8192)
        assert not Glob("*" + ("a" * 40 + "b*") * 9).hits("a" * 8192)
    assert time.perf_counter() - started < 1


def test_rules_of_the_installation_go_before_those_of_the_workspace() -> None:
    ours = OwnRules.of([Rule.of(HOST, "evil.example", Block(410, "theirs"))])
    all_ = OwnRules.of([Rule.of(PATTERN, "*//evil.example/*", Block(451, "everybody's"))])
    rules = RuleSet({0: all_, 7: ours})
    assert rules.block_of(7, "https://evil.example/") == (451, "everybody's")
    assert rules.block_of(8, "https://evil.example/") == (451, "everybody's")
    assert RuleSet({7: ours}).block_of(8, "https://evil.example/") is None


def test_what_is_new_is_what_was_not_there_or_says_something_else() -> None:
    def rules(*blocks: tuple[str, int]) -> OwnRules:
        return OwnRules.of([Rule.of(kind_of(it), it, Block(status, None)) for it, status in blocks])

    before = RuleSet({7: rules(("a.example", 451), ("b.example", 451), ("*/bad*", 451))})
    after = before.replaced({7: rules(("a.example", 451), ("b.example", 410), ("*/bad*", 451))})
    added = after.added_since(before, [7])
    assert len(added) == 1
    assert added.block_of(7, "https://b.example/") == (410, None)
