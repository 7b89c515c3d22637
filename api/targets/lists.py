"""Block lists as files: what is published on the web, and what we write ourselves.

A line is a host or a pattern; a line of a hosts file (`0.0.0.0 evil.example`); or a rule as JSON,
as an export writes it. What follows `#` is a comment where a space or nothing stands before it: an
address may hold one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from api.core.errors import Invalid
from api.targets.rules import KINDS, MAX_REASON, STATUSES, Block, Rule, kind_of

_COMMENT = re.compile(r"(^|\s)#.*$")
# What hosts files name as the address of what shall not be reached.
_NOWHERE = frozenset(("0.0.0.0", "127.0.0.1", "::", "::1"))  # nosec B104 # noqa: S104
# What they say of the machine itself.
_OWN_NAMES = frozenset(
    (
        "localhost localhost.localdomain local broadcasthost 0.0.0.0 ip6-localhost ip6-loopback "
        "ip6-localnet ip6-mcastprefix ip6-allnodes ip6-allrouters ip6-allhosts"
    ).split()
)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line that is no rule."""

    line: int
    reason: str


def read_rules(lines: Iterable[str], block: Block) -> Iterator[Rule | Wrong]:
    """The rules of a list; those that say nothing of it themselves with this `block`."""
    for number, line in enumerate(lines, 1):
        try:
            if line.lstrip().startswith("{"):
                yield _from_json(line, block)
            else:
                for value in _values(line):
                    yield Rule.of(kind_of(value), value, block)
        except Invalid as error:
            yield Wrong(number, error.detail)


def write_rule(rule: Rule) -> str:
    """A rule as a line of an export."""
    status, reason = rule.block
    content = {"kind": rule.kind, "value": rule.value, "status": status, "reason": reason}
    return orjson.dumps(content).decode()


def _values(line: str) -> list[str]:
    words = _COMMENT.sub("", line.lstrip("\ufeff")).split()
    if len(words) > 1 and words[0] in _NOWHERE:
        return [word for word in words[1:] if word not in _OWN_NAMES]
    if len(words) > 1:
        raise Invalid.field("/value", "More than one value in a line.")
    return words


def _from_json(line: str, block: Block) -> Rule:
    try:
        content: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Invalid.field("", f"Not JSON: {error.msg}.") from None
    kind, value = content.get("kind"), content.get("value")
    status, reason = content.get("status", block.status), content.get("reason", block.reason)
    if kind not in KINDS or not isinstance(value, str):
        raise Invalid.field("/kind", f"A kind ({', '.join(KINDS)}) and a value are needed.")
    if status not in STATUSES:
        raise Invalid.field("/status", f"Must be one of: {', '.join(map(str, STATUSES))}.")
    if reason is not None and not (isinstance(reason, str) and 0 < len(reason) <= MAX_REASON):
        raise Invalid.field("/reason", f"A text of at most {MAX_REASON} characters.")
    return Rule.of(kind, value, Block(status, reason))
