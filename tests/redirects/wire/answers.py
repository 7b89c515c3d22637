"""Answers as they come over the wire, without what differs from one moment to the next."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[^\r\n]*")
_RANDOM_ID = re.compile(rb"[0-9a-f]{32}")
_NONCE = re.compile(rb"nonce(-|=\")[A-Za-z0-9_-]{22}")
# How far from now the `Date` of an answer may be.
_DATE_SECONDS = 5.0

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Answer:
    """What a client sees of one response."""

    status: bytes  # the whole line
    headers: tuple[Header, ...]  # in the order of the alphabet, each as often as it came
    body: bytes

    @property
    def code(self) -> int:
        """The status code."""
        return int(self.status.split(b" ")[1])

    def header(self, name: bytes) -> bytes | None:
        """The value of a header that comes once; None without it."""
        values = [value for given, value in self.headers if given.lower() == name.lower()]
        return values[0] if len(values) == 1 else None

    def __str__(self) -> str:
        head = b"\n".join([self.status, *(b": ".join(header) for header in self.headers)])
        return f"{head.decode('latin-1')}\n\n{self.body[:300]!r}"


@dataclass(frozen=True)
class Conversation:
    """All that came back over one connection."""

    answers: tuple[Answer, ...]
    rest: bytes  # what followed and is no complete answer
    ended: bool  # whether the server closed when the client had nothing more to say

    def __str__(self) -> str:
        parts = [str(answer) for answer in self.answers]
        if self.rest:
            parts.append(f"and then {self.rest[:300]!r}")
        return "\n\n".join([*parts, "closed" if self.ended else "NOT CLOSED"])


def read_conversation(received: bytes, sent: bytes, *, ended: bool) -> Conversation:
    """The answers in what was received. `sent` tells which request ids were given by the client.

    Whether an answer has a body depends on the method, which of odd bytes is the server's opinion:
    no body that we send begins as an answer does, so what follows the head decides.
    """
    answers: list[Answer] = []
    while taken := _take(received):
        answer, received = taken
        answers.append(_without_the_moment(answer, sent))
    return Conversation(tuple(answers), received, ended)


def count_answers(received: bytes) -> int:
    """How many complete answers there are."""
    count = 0
    while taken := _take(received):
        received = taken[1]
        count += 1
    return count


def _take(received: bytes) -> tuple[Answer, bytes] | None:
    head, blank, rest = received.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    match = _STATUS.fullmatch(status)
    if not blank or match is None:
        return None
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    by_name = {name.lower(): value for name, value in headers}
    if match[1][:1] == b"1" or match[1] in (b"204", b"304") or _STATUS.match(rest):
        body: bytes | None = b""
    elif by_name.get(b"transfer-encoding", b"").lower() == b"chunked":
        body, rest = _take_chunks(rest)
    else:
        length = int(by_name.get(b"content-length", b"0"))
        # Nothing at all after the head may be the answer to a HEAD, or one still on its way: the
        # latter shows in the end, as what comes then is no answer.
        whole = len(rest) >= length or not rest
        body, rest = (rest[:length], rest[length:]) if whole else (None, b"")
    if body is None:
        return None
    return Answer(status, tuple(sorted(headers)), body), rest


def _take_chunks(rest: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        size, newline, rest = rest.partition(b"\r\n")
        if not newline:
            return None, b""
        length = int(size, 16)
        if len(rest) < length + 2:
            return None, b""
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest


def _without_the_moment(answer: Answer, sent: bytes) -> Answer:
    """Names in place of values that no two answers share; their form is still looked at."""
    body = _NONCE.sub(rb"nonce\1<random>", answer.body)
    headers = []
    for name, value in answer.headers:
        lasting = _lasting(name.lower(), value, sent)
        if lasting == b"<random>":
            body = body.replace(value, lasting)
        if lasting is not None:
            headers.append((name, lasting))
    return Answer(answer.status, tuple(headers), body)


def _lasting(name: bytes, value: bytes, sent: bytes) -> bytes | None:
    """What a header is compared by; None if it is not."""
    if name == b"server":
        return None
    if name == b"date" and _is_now(value):
        return b"<now>"
    if name == b"x-request-id" and _RANDOM_ID.fullmatch(value) and value not in sent:
        return b"<random>"
    if name == b"content-security-policy":
        return _NONCE.sub(rb"nonce\1<random>", value)
    return value


def _is_now(value: bytes) -> bool:
    text = value.decode("latin-1")
    if re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", text) is None:
        return False
    return abs(parsedate_to_datetime(text).timestamp() - time.time()) < _DATE_SECONDS


def redirects_to(conversation: Conversation, target: bytes) -> int:
    """How many answers send the visitor on to an address that begins with `target`."""
    return sum(
        300 <= answer.code < 400 and (answer.header(b"Location") or b"").startswith(target)
        for answer in conversation.answers
    )


def differences(left: Counter[object], right: Counter[object]) -> str:
    """What two bags do not share, for people."""
    only = [f"  only left:  {item}" for item in (left - right).elements()]
    return "\n".join(only + [f"  only right: {item}" for item in (right - left).elements()])
