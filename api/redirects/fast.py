"""From the bytes of a request to the bytes of its answer, for links whose answer is prepared.

Only requests of a small and strict grammar are answered here: one whole request and nothing
behind it, GET or HEAD, HTTP/1.1, plain characters, no body, nothing that asks for anything else
than the link. All other bytes are given back as they came, for the server's parser.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from functools import lru_cache
from typing import NamedTuple
from wsgiref.handlers import format_date_time

import orjson

from api.clicks.records import FLAG_HEAD, FLAG_PREFETCH, MAX_QUERY, MAX_TEXT
from api.clicks.spool import Spool
from api.core.client import client_address
from api.core.requests import REQUEST_ID
from api.core.transport import Transport
from api.redirects.lines import RedirectLines
from api.redirects.prepared import PreparedAnswers
from api.redirects.speculation import PURPOSES, is_speculative
from api.redirects.turn import NoteTurn

MAX_REQUEST_BYTES = 8_000  # within what the server's parser allows
_MAX_FIELDS = 64
_LINE = re.compile(rb'(GET|HEAD) /([A-Za-z0-9_.-]{1,128})(?:\?([!-"$-~]*))? HTTP/1\.1')
_FIELDS = re.compile(rb"(?:[A-Za-z0-9-]+:[ -~]*\r\n)+\r\n")
_FIELD = re.compile(rb"([A-Za-z0-9-]+):([ -~]*)\r\n")
_HOST = re.compile(rb"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?")
# What says that there is a body, or a wish that a redirect does not answer, or who else speaks.
_REFUSED = frozenset(
    (
        b"content-length transfer-encoding trailer te expect upgrade http2-settings keep-alive "
        b"proxy-connection x-forwarded-protocol x-forwarded-ssl"
    ).split()
)
_PURPOSES = frozenset(name.lower().encode() for name in PURPOSES)
_REMEMBERED = 4_096


class _Visitor(NamedTuple):
    """What the fields of a request tell."""

    host: bytes
    record: bytes  # address, user agent, referrer and language, as a click is written
    flags: int
    request_id: bytes | None
    transport_lines: bytes  # headers that depend on how it came here


class FastPath:
    """Answers requests of one worker process."""

    def __init__(
        self,
        answers: PreparedAnswers,
        spool: Spool,
        transport: Transport,
        lines: RedirectLines | None = None,
        note_turn: NoteTurn | None = None,
    ) -> None:
        self._answers = answers
        self._known = answers.known
        self.spool = spool
        self.note_turn = note_turn
        self._transport = transport
        self._visitor = lru_cache(_REMEMBERED)(self._read_fields)
        self._numbers = itertools.count(secrets.randbits(40))
        self._process = secrets.token_hex(8).encode()
        self._second = 0
        self._date = b""
        if lines is not None:
            # Of this very object, so that nothing is asked where nothing is told of redirects.
            self.answer = lines.around(self.answer)  # type: ignore[method-assign, assignment]

    def answer(self, data: bytes, peer: str) -> tuple[bytes, bytes] | None:
        """The line of the click, to be written first, and the answer to `data`; None if it is not
        answered here.

        `peer` is the address of the other end of the connection.
        """
        line, _, fields = data.partition(b"\r\n")
        asked = _LINE.fullmatch(line)
        if asked is None or len(data) > MAX_REQUEST_BYTES:
            return None
        visitor = self._visitor(fields, peer)
        if visitor is None:
            return None
        method, slug, query = asked.groups()
        prepared = self._known.get(visitor.host + b"/" + slug)
        if prepared is None:
            return None
        now = time.monotonic()
        if now >= prepared.renew_at:
            if now >= prepared.fresh_until:
                return None
            self._answers.renew(prepared.key)
        text = b'""'
        if query:
            if prepared.forwards_query:
                return None
            text = orjson.dumps(query[:MAX_QUERY].decode("ascii"))
        now_ms = time.time_ns() // 1_000_000
        flags = visitor.flags if method == b"GET" else visitor.flags | FLAG_HEAD
        click = b"[%d,%b,%b,%b,%d]\n" % (now_ms, prepared.ids, visitor.record, text, flags)
        if now_ms // 1000 != self._second:
            self._second = now_ms // 1000
            self._date = f"\r\nDate: {format_date_time(self._second)}\r\n\r\n".encode()
        request_id = visitor.request_id or b"%b%016x" % (self._process, next(self._numbers))
        lines = visitor.transport_lines
        return click, b"%b%b%b%b" % (prepared.head, request_id, lines, self._date)

    def _read_fields(self, block: bytes, peer: str) -> _Visitor | None:
        if not _FIELDS.fullmatch(block):
            return None
        found = _FIELD.findall(block)
        fields: dict[bytes, bytes] = {name.lower(): value.strip(b" ") for name, value in found}
        # Of a field that comes twice it is for the parser to say what is meant.
        if len(fields) != len(found) or len(found) > _MAX_FIELDS:
            return None
        if not _REFUSED.isdisjoint(fields):
            return None
        if fields.get(b"connection", b"keep-alive").lower() != b"keep-alive":
            return None

        def text(name: bytes) -> str:
            return fields.get(name, b"").decode("ascii")

        host = fields.get(b"host", b"")
        lines = self._transport.prepared_lines(peer, text(b"x-forwarded-proto"))
        if lines is None or not _HOST.fullmatch(host):
            return None
        address = client_address(peer, text(b"x-forwarded-for"), self._transport.trusted)
        texts = (address, text(b"user-agent"), text(b"referer"), text(b"accept-language"))
        flags = 0
        if not _PURPOSES.isdisjoint(fields) and is_speculative(" ".join(map(text, _PURPOSES))):
            flags = FLAG_PREFETCH
        given = fields.get(b"x-request-id")
        if given is not None and not REQUEST_ID.fullmatch(given.decode("ascii")):
            given = None
        record = orjson.dumps([value[:MAX_TEXT] for value in texts])[1:-1]
        return _Visitor(host, record, flags, given, lines)
