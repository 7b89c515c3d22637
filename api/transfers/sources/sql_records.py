"""Records in a dump of MySQL or MariaDB: the rows that are inserted into one table.

A dump holds other tables, too, and their texts may look like statements: so all of it is read as
the server would read it, token by token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from api.transfers.sources.errors import Unreadable
from api.transfers.sources.records import Record

_CHUNK = 1 << 16
_CUT = "the dump is cut: a statement has no end"
_MAX_TOKEN = 1 << 22
_TOKEN = re.compile(
    r"""
      (?P<space>    \s+ | (?:--|\#)[^\n]*(?:\n|\Z) | /\*.*?\*/ )
    | (?P<text>     '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" )
    | (?P<name>     `(?:[^`]|``)*` )
    | (?P<word>     [\w.+-]+ )
    | (?P<mark>     . )
    """,
    re.VERBOSE | re.DOTALL,
)
_START = re.compile(r"--|/\*|\#|(insert|replace|create|drop|set|start|lock|use)\s", re.IGNORECASE)
_OPENING = re.compile(r"['\"`]|--|\#|/\*")
_ESCAPED = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
_MEANT = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "Z": "\x1a", "b": "\b"}

Token = tuple[str, str]


def is_sql(head: str) -> bool:
    """Whether a text begins as a dump does."""
    return _START.match(head) is not None


def read_sql(stream: TextIO, ending: str, columns: tuple[str, ...]) -> Iterator[Record]:
    """The rows of the table whose name ends so; `columns`: those of a dump that names none.

    Raises:
        Unreadable: it is cut, or no dump.
    """
    tokens = _tokens(stream)
    for token in tokens:
        verb = token[1].upper()
        if verb == "CREATE":
            columns = _created(tokens, ending) or columns
        elif verb in ("INSERT", "REPLACE"):
            yield from _inserted(tokens, ending, columns)
        elif token != ("mark", ";"):
            _skip(tokens)


def _inserted(tokens: Iterator[Token], ending: str, columns: tuple[str, ...]) -> Iterator[Record]:
    """The rows of one statement: `INTO name (columns) VALUES (…), (…);`."""
    table, named = "", []
    for kind, text in tokens:
        if (kind, text) == ("mark", ";"):
            return
        if kind == "word" and text.upper() in ("VALUES", "VALUE"):
            break
        if (kind, text) == ("mark", "("):
            named = [name for kind, name in _group(tokens) if kind in ("name", "word")]
        elif kind in ("name", "word"):
            table = text
    if not table.endswith(ending):
        _skip(tokens)
        return
    names = named or columns
    for kind, text in tokens:
        if (kind, text) == ("mark", ";"):
            return
        if (kind, text) == ("mark", "("):
            values = list(_values(_group(tokens)))
            if len(values) != len(names):
                raise Unreadable(f"a row of {table} has {len(values)} values, not {len(names)}")
            yield Record(dict(zip(names, values, strict=True)))
    raise Unreadable(_CUT)


def _created(tokens: Iterator[Token], ending: str) -> tuple[str, ...]:
    """The columns of a table, if it is the one."""
    table, columns = "", []
    for kind, text in tokens:
        if (kind, text) == ("mark", ";"):
            break
        if (kind, text) == ("mark", "("):
            before = ","
            for inner, name in _group(tokens):
                if inner == "name" and before == ",":
                    columns.append(name)
                before = name
        elif kind in ("name", "word") and not columns:
            table = text
    return tuple(columns) if table.endswith(ending) else ()


def _group(tokens: Iterator[Token]) -> Iterator[Token]:
    """What is between these parentheses; of inner ones only that they are there."""
    depth = 1
    for token in tokens:
        if token == ("mark", "("):
            depth += 1
        elif token == ("mark", ")"):
            depth -= 1
            if depth == 0:
                return
        elif depth == 1:
            yield token
    raise Unreadable(_CUT)


def _values(tokens: Iterator[Token]) -> Iterator[str | None]:
    """The values between commas; a word before a text names its character set."""
    value: str | None = None
    for kind, text in tokens:
        if (kind, text) == ("mark", ","):
            yield value
            value = None
        elif kind == "text":
            value = text
        elif kind == "word":
            value = _literal(text)
    yield value


def _literal(word: str) -> str | None:
    if word.upper() == "NULL":
        return None
    if word[:2].lower() == "0x":
        return bytes.fromhex(word[2:]).decode("utf-8", "replace")
    return word


def _skip(tokens: Iterator[Token]) -> None:
    for token in tokens:
        if token == ("mark", ";"):
            return


def _tokens(stream: TextIO) -> Iterator[Token]:
    """Tokens but for space and comments, with the quotes of texts and names taken off."""
    rest, at, ended = "", 0, False
    while True:
        found = _TOKEN.match(rest, at)
        if not ended and (found is None or _may_go_on(rest, found)):
            if len(rest) - at > _MAX_TOKEN:
                raise Unreadable("the dump has a text without an end")
            more = stream.read(_CHUNK)
            rest, at, ended = rest[at:] + more, 0, not more
            continue
        if found is None:
            return
        at = found.end()
        kind, text = str(found.lastgroup), found.group()
        if kind == "mark" and _OPENING.match(text):
            raise Unreadable("the dump is cut: a text has no end")
        if kind in ("text", "name"):
            text = _unquoted(text)
        if kind != "space":
            yield kind, text


def _may_go_on(rest: str, found: re.Match[str]) -> bool:
    """Whether more of the dump could make another token of it."""
    if found.end() == len(rest):
        return True
    return found.lastgroup in ("mark", "word") and bool(_OPENING.match(rest, found.start()))


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    if "\\" not in inner and text[0] not in inner:
        return inner
    if text[0] == "`":
        return inner.replace("``", "`")
    return _ESCAPED.sub(_meant, inner)


def _meant(found: re.Match[str]) -> str:
    escaped = found.group(1)
    return found.group()[0] if escaped is None else _MEANT.get(escaped, escaped)
