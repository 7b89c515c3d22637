"""What a block rule says, and whether it hits an address.

No regular expressions: a host is looked up by its endings, a pattern is searched for piece by
piece, so that what an address costs grows with its length and with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from urllib.parse import unquote

from api.core.errors import Invalid
from api.core.safe_url import MAX_URL_LENGTH, host_of
from api.domains.hosts import is_host_name, normalise_host

HOST, PATTERN = "host", "pattern"
KINDS = (HOST, PATTERN)
# RFC 7725 for what may not be shown for legal reasons; 410 for what shall only be away.
STATUSES = (451, 410)
# Whose rules count for everybody's links; no workspace has this id.
INSTALLATION = 0

MAX_PATTERN = 1_000
MAX_WILDCARDS = 10
MAX_REASON = 500
# A pattern with less would hit most of what there is.
_FEWEST_CHARACTERS = 4
_PATTERN = re.compile(r"[!-~]+")
_IPV6 = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*")


class Block(NamedTuple):
    """How a link answers whose target a rule hits."""

    status: int
    reason: str | None


class Rule(NamedTuple):
    """One rule: a host with all that is below it, or a pattern of a whole address."""

    kind: str
    value: str
    block: Block

    @classmethod
    def of(cls, kind: str, value: str, block: Block) -> Self:
        """The rule, with its value in the one spelling that is compared.

        Raises:
            Invalid: naming `/value`, if it is no host, or no pattern.
        """
        return cls(kind, (_host if kind == HOST else _pattern)(value), block)


class Glob:
    """A pattern in which `*` stands for any characters, also none; of the whole address."""

    __slots__ = ("_first", "_last", "_middle", "longest")

    def __init__(self, pattern: str) -> None:
        # What any text that it hits has in it: of many patterns most are ruled out by this alone.
        self.longest = max(pattern.split("*"), key=len)
        self._first, *rest = pattern.split("*")
        self._last = rest.pop() if rest else None
        self._middle = [piece for piece in rest if piece]

    def hits(self, text: str) -> bool:
        """Whether it is the pattern of `text`. The leftmost place of each piece is as good as any
        other, so that none is looked for twice."""
        if self._last is None:
            return text == self._first
        end = len(text) - len(self._last)
        place = len(self._first)
        if place > end or not (text.startswith(self._first) and text.endswith(self._last)):
            return False
        for piece in self._middle:
            place = text.find(piece, place, end)
            if place < 0:
                return False
            place += len(piece)
        return True


@dataclass(frozen=True, slots=True)
class OwnRules:
    """The rules of the installation, or of one workspace."""

    hosts: dict[str, Block] = field(default_factory=dict)
    patterns: dict[str, tuple[Glob, Block]] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Self:
        """Rules, to be asked."""
        own = cls()
        # Thousands of rules tend to say one of few things: each is kept once.
        blocks: dict[Block, Block] = {}
        for kind, value, said in rules:
            block = blocks.setdefault(said, said)
            if kind == HOST:
                own.hosts[value] = block
            else:
                own.patterns[value] = (Glob(value), block)
        return own

    def without(self, other: OwnRules) -> OwnRules:
        """Those that `other` has not, or has otherwise."""
        return OwnRules(
            {host: it for host, it in self.hosts.items() if other.hosts.get(host) != it},
            {
                pattern: it
                for pattern, it in self.patterns.items()
                if pattern not in other.patterns or other.patterns[pattern][1] != it[1]
            },
        )

    def __bool__(self) -> bool:
        return bool(self.hosts or self.patterns)

    def block_of(self, host: str, spellings: Iterable[str]) -> Block | None:
        """What the rules say of an address, by its host and its spellings."""
        while host and self.hosts:
            block = self.hosts.get(host)
            if block is not None:
                return block
            _, _, host = host.partition(".")
        for text in spellings:
            for glob, block in self.patterns.values():
                if glob.longest in text and glob.hits(text):
                    return block
        return None


class RuleSet:
    """Rules by their owner, as they were at one moment."""

    __slots__ = ("_owners",)

    def __init__(self, owners: Mapping[int, OwnRules] | None = None) -> None:
        self._owners = {owner: own for owner, own in (owners or {}).items() if own}

    def of(self, owner: int) -> OwnRules:
        """The rules of the installation (0), or of a workspace."""
        return self._owners.get(owner) or OwnRules()

    def owners(self) -> frozenset[int]:
        """Those who have rules."""
        return frozenset(self._owners)

    def __len__(self) -> int:
        return sum(len(own.hosts) + len(own.patterns) for own in self._owners.values())

    def replaced(self, owners: Mapping[int, OwnRules]) -> RuleSet:
        """The same with other rules of these owners."""
        return RuleSet({**self._owners, **owners})

    def added_since(self, before: RuleSet, owners: Iterable[int]) -> RuleSet:
        """The rules of `owners` that were not there, or said something else, in `before`."""
        return RuleSet({owner: self.of(owner).without(before.of(owner)) for owner in owners})

    def block_of(self, workspace: int, url: str) -> Block | None:
        """What stops a link of `workspace` from leading to `url`, a normalised address.

        The installation's rules go first, and of one owner's those of hosts.
        """
        asked = [
            own
            for own in (self._owners.get(INSTALLATION), self._owners.get(workspace))
            if own is not None
        ]
        if not asked:
            return None
        host = host_of(url) or ""
        spellings = spellings_of(url)
        for own in asked:
            block = own.block_of(host, spellings)
            if block is not None:
                return block
        return None


def spellings_of(url: str) -> tuple[str, ...]:
    """An address as patterns are compared with it: in lower case, as it is written and, where
    that differs, with what is percent-encoded as it is meant."""
    text = url.lower()
    return (text, unquote(text).lower()) if "%" in text else (text,)


def kind_of(value: str) -> str:
    """What somebody means who writes only a value: hosts have neither `*` nor `/`."""
    return PATTERN if "*" in value or "/" in value else HOST


def _host(value: str) -> str:
    host = normalise_host(f"[{value}]" if value.count(":") > 1 and value[0] != "[" else value)
    if host is None or not (is_host_name(host) or _IPV6.fullmatch(host)):
        raise Invalid.field("/value", "Not a host name.")
    return host


def _pattern(value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise Invalid.field(
            "/value", "Only visible ASCII: as addresses are kept, percent-encoded, in punycode."
        )
    longest = min(MAX_PATTERN, MAX_URL_LENGTH)
    if len(value) > longest or value.count("*") > MAX_WILDCARDS:
        raise Invalid.field(
            "/value", f"At most {longest} characters, and {MAX_WILDCARDS} times `*`."
        )
    if len(value.replace("*", "")) < _FEWEST_CHARACTERS:
        raise Invalid.field(
            "/value", f"At least {_FEWEST_CHARACTERS} characters beside `*`: it would hit too much."
        )
    return value.lower()
