"""What no answer may tell: looked for in its status line, its headers and its body."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from itsdangerous.encoding import base64_decode
from sqlalchemy.engine import make_url

ROOT = Path(__file__).resolve().parents[2]

# What a planted failure says of itself.
PLANTED = "planted: SELECT secret FROM /etc/shadow"

_SIGNS = {
    "a planted text": r"planted|shadow",
    "a stack trace": r"Traceback|File \"|line \d+, in |\.pyc?\b|\.c:\d+|<module>|0x[0-9a-f]{6,}",
    "an exception": r"\b[A-Z]\w*(?:Error|Exception|Warning|Violation)\b"
    r"|\b(?:QueryCanceled|UndefinedTable|NoMoreData|Invalid(?:Request|Header|Chunk)\w+|Limit\w+s)\b",
    "SQL": r"\b(?:SELECT|INSERT INTO|DELETE FROM|UPDATE \w+ SET|FROM \w+ WHERE)\b|relation \\?\""
    r"|constraint|duplicate key|statement timeout|canceling|does not exist|LINE \d",
    "a path": r"(?<![\w.:/])/(?:work|tmp|home|usr|var|opt|root|etc|app|srv|proc|dev)/"
    r"|site-packages",
    "a component": r"(?i)psycopg|sqlalchemy|alembic|postgres|valkey|rabbit|amqp|pika|werkzeug|flask"
    r"|gevent|greenlet|gunicorn|jinja|marshmallow|orjson|python|openssl|celery|authlib|joserfc",
    "a version": r"(?<![\w.])v?\d+\.\d+\.\d+(?!\.\d)\b",
}
# Where a list goes on. Its signature is chance, in which any short word may stand: what was signed
# is looked at, as whoever gets it can read it.
_CURSOR = re.compile(r'(cursor(?:=|":\s*"))([\w-]+)\.[\w-]{43}(?![\w-])')
# What else is chance from beginning to end, where it stands: cookies, nonces, tokens of forms.
_CHANCE = re.compile(
    r'(signpost_\w+=|[\s\']nonce(?:-|=")|name="form_token" value=")[\w./+=-]{16,}(?=[;\s\'"])'
)
# The one word that an answer may have of its server.
_SERVER = re.compile(r"^Server: gunicorn\r$", re.MULTILINE)


def leaks_in(answer: bytes, environ: Mapping[str, str]) -> list[str]:
    """What an answer, as it came over the wire, tells that it must not.

    `environ` is the environment of the process that gave it: no value of it may be in there.
    """
    found = []
    text = _SERVER.sub("", answer.decode("utf-8", "replace"))
    text = _CURSOR.sub(lambda found: found[1] + _content_of(found[2]), text)
    text = _CHANCE.sub(r"\1", text)
    for kind, pattern in _SIGNS.items():
        if match := re.search(pattern, text):
            found.append(f"{kind}: {match[0]!r}")
    found += [f"a secret: {secret!r}" for secret in secrets_of(environ) if secret in text]
    found += [f"a version: {version!r}" for version in _versions() if version in text]
    return found


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """The values that an environment holds, and the parts of its addresses."""
    values = {value for name, value in environ.items() if name not in ("BASE_URL", "HOST")}
    for value in list(values):
        if "://" in value:
            url = make_url(value)
            parts = (url.username, url.password, url.host, url.database)
            values |= {part for part in parts if part} | ({f":{url.port}"} if url.port else set())
    secret = {value for value in values if len(value) > 4 and not value.isdigit()}
    return secret - {"signpost"}  # a user of that name is nothing to know


def _content_of(encoded: str) -> str:
    return base64_decode(encoded).decode("utf-8", "replace")


@functools.cache
def _versions() -> list[str]:
    names = ("gunicorn", "flask", "werkzeug", "sqlalchemy", "psycopg2-binary", "gevent", "redis")
    return [platform.python_version(), *(metadata.version(name) for name in names)]
