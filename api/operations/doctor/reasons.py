"""Errors of servers in one line for people, and what usually helps."""

from __future__ import annotations

import re

import psycopg2
import redis
import sqlalchemy.exc

from api.core.errors import Unavailable
from config.settings import SettingsError


class NotThere(Exception):
    """A server does not answer, or is not known; the check of its connection says why."""


# What says that a server could not be asked, which is told once, where connections are looked at.
AWAY = (NotThere, Unavailable, redis.ConnectionError, redis.TimeoutError)

_HELP = (
    ("password authentication failed", "Correct the user and the password in {setting}."),
    ("no password supplied", "Name the password in {setting}, or in ~/.pgpass."),
    ("no pg_hba.conf entry", "Let this host in by the server's pg_hba.conf, or ask for TLS."),
    ("role .* does not exist", "Make the role, or name another one in {setting}."),
    ("database .* does not exist", "Make the database (createdb), or name another in {setting}."),
    ("too many clients|remaining connection slots", "Lower DB_POOL_SIZE or WEB_CONCURRENCY."),
    ("invalid response to SSL negotiation", "Something else than PostgreSQL answers there: correct "
     "host and port in {setting}."),
    ("certificate|SSL|TLS", "Look at the certificates that {setting} names, and the server has."),
    ("translate host|Name or service|getaddrinfo", "Correct the host in {setting}, or the DNS."),
    ("invalid username-password|NOAUTH|WRONGPASS|ACCESS_REFUSED|AuthenticationError",
     "Correct the user and the password in {setting}."),
    ("refused|No such file", "Start the server, or correct host and port in {setting}."),
    ("timeout|timed out|did not answer|no answer", "Is the server frozen, or a firewall between?"),
)  # fmt: skip


def explain(error: BaseException) -> str:
    """One line, with the password of a URL left out."""
    if isinstance(error, Unavailable) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    text = re.sub(r"(//[^:/@]*):[^/]*@", r"\1:***@", text)
    told = NotThere | Unavailable | psycopg2.Error | redis.RedisError | SettingsError | OSError
    return text if isinstance(error, told) else f"{type(error).__name__}: {text}"


def advise(text: str, setting: str) -> str:
    """What usually helps against an error of a server that a setting names."""
    for pattern, advice in _HELP:
        if re.search(pattern, text, re.IGNORECASE):
            return advice.format(setting=setting)
    return f"Look at {setting}, and at the server's log."
