"""Requests as nobody would write them: valid ones and the corpus, changed at random."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import quote

from hypothesis import strategies as st

from tests.redirects.wire.corpus import PLAIN, get, head
from tests.redirects.wire.corpus_fields import BROWSER, CASES, FIELDS, FORWARDING
from tests.redirects.wire.links import HOST, LINKS, OWN_DOMAIN
from tests.redirects.wire.pair import follow_up
from tests.redirects.wire.talk import PROXY, STRANGER, Message

_MOST_BYTES = 12_000  # a request line or a field over its limit, and a little more
_SLUGS = ["plain", "moved", "forward", "a.b-c_d"] * 5 + [*map(quote, LINKS)]
_HOSTS = [HOST] * 12 + [f"{HOST}:80", OWN_DOMAIN, HOST.upper(), "elsewhere.example", ""]
_VERSIONS = ["HTTP/1.1"] * 20 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", ""]
_METHODS = ["GET"] * 12 + ["HEAD"] * 4 + ["POST", "OPTIONS", "get", "DELETE"]
# What tends to mean something to somebody who reads requests.
BITS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"?", b"#", b"/",
    b"//", b"%", b"%2F", b"%00", b"..", b"@", b"\\", b'"', b"_", b"-", b"\x7f", b"\x80", b"\xff",
    b"HTTP/1.1", b"Host:", b"0\r\n\r\n", b"chunked", b"close", b"\xc3\xbc", b"GET ", b"HEAD ",
]  # fmt: skip
ODD_LINES = sorted(
    {
        line
        for case in (*FIELDS.values(), *FORWARDING.values())
        if len(case) < 500
        for line in case.split(b"\r\n")[2:]
        if line
    }
)

_FRAMING_LINES = [
    b"Content-Length: 0", b"Content-Length: 5", b"content-length:0", b"Content-Length: 00",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"transfer-encoding:x",
    b"Connection: close", b"Connection: x, close", b"Host: wire.test", b"Expect: 100-continue",
    b"Upgrade: h2c", b"TE: trailers", b"X: a\n b", b"X: a\r\n b", b"X_Y: z",
]  # fmt: skip

_names = st.sampled_from(
    [line.split(b":")[0] for line in ODD_LINES if b":" in line]
    + [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection"]
)
_any_line = st.one_of(
    st.sampled_from(ODD_LINES),
    st.sampled_from(_FRAMING_LINES),
    st.sampled_from([line.encode() for line in BROWSER]),
    st.builds(lambda name, value: name + b": " + value, _names, st.binary(max_size=12)),
    st.builds(
        lambda name, value: name + b":" + value.encode(),
        _names,
        st.text("abcXYZ019 .,;=-/*\"'", max_size=20),
    ),
)


@st.composite
def valid_requests(draw: st.DrawFn) -> bytes:
    """A request that makes sense, or nearly."""
    method = draw(st.sampled_from(_METHODS))
    query = draw(st.one_of(st.just(""), st.from_regex(r"\?[!-~]{0,20}", fullmatch=True)))
    target = f"/{draw(st.sampled_from(_SLUGS))}{query}"
    host, version = draw(st.sampled_from(_HOSTS)), draw(st.sampled_from(_VERSIONS))
    # One odd line among plain ones tells most: with two, one hides what the other would show.
    browser = [line.encode() for line in BROWSER] if draw(st.booleans()) else []
    count = draw(st.sampled_from([0, 1, 1, 1, 2, 4]))
    lines = browser + draw(st.lists(_any_line, min_size=count, max_size=count))
    request = head(f"{method} {target} {version}\nHost: {host}")[:-2]
    return request + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@st.composite
def changed(draw: st.DrawFn, requests: st.SearchStrategy[bytes]) -> bytes:
    """One of `requests` after some small changes."""
    data = draw(requests)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3]))):
        data = _change(draw, data)
    return data[:_MOST_BYTES]


def _change(draw: st.DrawFn, data: bytes) -> bytes:
    kind = draw(st.sampled_from(["insert", "line", "flip", "delete", "repeat", "swap", "case"]))
    lines = data.split(b"\r\n")
    place = draw(st.integers(0, max(len(data) - 1, 0)))
    if kind == "insert":
        return data[:place] + draw(st.sampled_from(BITS)) + data[place:]
    if kind == "flip":
        return data[:place] + draw(st.binary(min_size=1, max_size=1)) + data[place + 1 :]
    if kind == "delete":
        return data[:place] + data[place + draw(st.integers(1, 8)) :]
    if kind == "case":
        return data[:place] + data[place : place + 8].swapcase() + data[place + 8 :]
    number = draw(st.integers(0, len(lines) - 1))
    if kind == "line":
        lines.insert(number, draw(_any_line))
    elif kind == "repeat":
        lines.insert(number, lines[number])
    else:
        other = draw(st.integers(0, len(lines) - 1))
        lines[number], lines[other] = lines[other], lines[number]
    return b"\r\n".join(lines)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """What one client sends over one connection."""
    start = st.one_of(
        valid_requests(), valid_requests(), st.sampled_from(sorted(set(CASES.values())))
    )
    requests = draw(st.lists(changed(start), min_size=1, max_size=3))
    if draw(st.booleans()):
        # Most bytes are refused: one that is answered shows more of what comes after it.
        requests.insert(0, draw(st.sampled_from([PLAIN, get("/moved?x=y")])))
    pieces = [request for request in requests if request] or [b" "]
    # Known links are answered early only where a request comes by itself.
    cut = draw(st.sampled_from(["between", "between", "nowhere", "anywhere"]))
    if cut != "between":
        data = b"".join(pieces)
        cuts = draw(st.lists(st.integers(1, max(len(data) - 1, 1)), max_size=4))
        places = sorted({0, len(data), *(cuts if cut == "anywhere" else ())})
        pieces = [data[a:b] for a, b in pairwise(places)]
    return Message(tuple(pieces), draw(st.sampled_from([STRANGER, PROXY])), follow_up())
