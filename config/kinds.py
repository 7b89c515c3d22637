"""Kinds of settings: each reads the text of an environment variable, or says what is wrong with it.

Plain functions, and no schema library: a process that only redirects would load one for this.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import ada_url

from config import redis_urls, tls

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
# Raises ValueError with a sentence for people.
Kind: TypeAlias = Callable[[str], Any]

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LOGGER = re.compile(r"[\w-]+(\.[\w-]+)*")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
# A host, or an IPv6 address in brackets, and a port.
_PLACE = re.compile(r"([^:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_PLACE_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_SCHEME = r"postgres(?:ql)?(?:\+psycopg2)?://"
_TRUE = frozenset(("1", "t", "true", "y", "yes", "on"))
_FALSE = frozenset(("0", "f", "false", "n", "no", "off"))


def integer(low: int, high: int | None) -> Kind:
    """A whole number from `low` to `high`."""

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError("Not a valid integer.") from None
        return int(_in_range(number, low, high))

    return read


def seconds(*, zero: bool = False, low: int = 0, high: int | None = None) -> Kind:
    """A duration; with `zero` also none."""

    def read(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError("Not a valid number.") from None
        if not math.isfinite(number):
            raise ValueError("Not a finite number.")
        if number == 0 and not zero:
            raise ValueError("Must be greater than 0.")
        return _in_range(number, low, high)

    return read


def share(value: str) -> float:
    """A part of a whole, from 0 for nothing to 1 for all of it."""
    return float(seconds(zero=True, high=1)(value))


def flag(value: str) -> bool:
    """Yes or no, in any of the usual words."""
    word = value.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("Not a valid boolean.")
    return word in _TRUE


def text(shortest: int = 0) -> Kind:
    """Any text of so many characters."""

    def read(value: str) -> str:
        if len(value) < shortest:
            raise ValueError(f"Shorter than minimum length {shortest}.")
        return value

    return read


def matching(pattern: str) -> Kind:
    """A text of a certain form."""

    def read(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError("String does not match expected pattern.")
        return value

    return read


def one_of(*words: str) -> Kind:
    """One of these words."""

    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"Must be one of: {', '.join(words)}.")
        return value

    return read


def comma_list(value: str) -> tuple[str, ...]:
    """`a,b,c` as a tuple of stripped, non-empty strings."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def log_levels(value: str) -> tuple[tuple[str, str], ...]:
    """`logger=LEVEL,other=LEVEL`."""
    found = []
    for part in comma_list(value):
        name, equals, level = part.partition("=")
        if not (equals and _LOGGER.fullmatch(name.strip())):
            raise ValueError(f"Must be a list of `logger=LEVEL`, and {part!r} is not.")
        found.append((name.strip(), one_of(*LOG_LEVELS)(level.strip())))
    return tuple(found)


def networks(value: str) -> tuple[Network, ...]:
    """A list of addresses or CIDR blocks."""
    try:
        return tuple(ipaddress.ip_network(part, strict=False) for part in comma_list(value))
    except ValueError as error:
        raise ValueError(f"{error}.") from None


def addresses(value: str) -> tuple[str, ...]:
    """A list of addresses of this machine, at least one."""
    try:
        found = tuple(str(ipaddress.ip_address(part)) for part in comma_list(value))
    except ValueError as error:
        raise ValueError(f"{error}.") from None
    if not found:
        raise ValueError("Must name one.")
    return found


def places(value: str) -> tuple[str, ...]:
    """A list of `host:port`, at least one, with IPv6 addresses in brackets."""
    found = comma_list(value)
    for place in found:
        host, port = match.groups() if (match := _PLACE.fullmatch(place)) else ("", None)
        if not _PLACE_HOST.fullmatch(host) or not 1 <= int(port or 0) <= 65535:
            raise ValueError("Not of the form host:port,host:port.")
    if not found:
        raise ValueError("Must name one.")
    return found


def database_url(value: str) -> str:
    """A PostgreSQL URL; `postgres://`, as Procfile hosts give it, is read as `postgresql://`.

    SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, so the driver is always named.
    """
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise ValueError("Not a PostgreSQL URL (postgresql://user@host/name).")
    tls.check_database(value)
    return f"postgresql+psycopg2://{_hosts_as_parameters(rest)}"


def _hosts_as_parameters(rest: str) -> str:
    """`user@a:5432,b:5433/name` as `user@/name?host=a,b&port=5432,5433`: libpq knows both ways to
    name several hosts, and SQLAlchemy the second."""
    end = min((rest + "/").index("/"), (rest + "?").index("?"))
    user, at, hosts = rest[:end].rpartition("@")
    name, _, query = rest[end:].partition("?")
    if "," not in hosts:
        return rest
    places = [_PLACE.fullmatch(place) for place in hosts.split(",")]
    if not all(places):
        raise ValueError("The hosts of a PostgreSQL URL are `host:port`, separated by commas.")
    named = ",".join(place[1].strip("[]") for place in places if place)
    ports = ",".join(place[2] or "5432" for place in places if place)
    return f"{user}{at}{name or '/'}?host={named}&port={ports}{query and '&' + query}"


def database_urls(value: str) -> tuple[str, ...]:
    """PostgreSQL URLs, separated by commas."""
    # A comma may also stand between the hosts of one URL.
    return tuple(map(database_url, re.split(rf"\s*,\s*(?={_SCHEME})", value.strip())))


def named_database_urls(value: str) -> tuple[tuple[str, str], ...]:
    """`name=url,name=url`, as pairs."""
    pairs = [
        part.partition("=") for part in re.split(rf"\s*,\s*(?=[^,=/]*={_SCHEME})", value.strip())
    ]
    if not all(_NAME.fullmatch(name) for name, _, _ in pairs):
        raise ValueError("Not `name=url`, separated by commas; a name is of a-z, 0-9, _ and -.")
    return tuple((name, database_url(url)) for name, _, url in pairs)


def redis_url(value: str) -> str:
    """The URL of a Redis, or of a cluster in the form that `config.redis_urls` knows."""
    if not re.match(r"(rediss?(\+cluster)?|unix)://", value):
        raise ValueError(
            "Not a Redis URL (redis://host:port/0, rediss://, redis+cluster://a:port,b:port, "
            "unix://)."
        )
    value = redis_urls.normalize(value)
    for url in redis_urls.node_urls(value):
        tls.check_redis(url)
    return value


def amqp_url(value: str) -> str:
    """An AMQP 0-9-1 URL, with what pika and RabbitMQ's own clients read of its query."""
    wrong = "Not an AMQP URL (amqp://user@host/vhost, amqps://)"
    try:
        url = urlsplit(value)
        usable = url.scheme in ("amqp", "amqps") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{wrong}.")
    try:
        tls.amqp_parameters(value)
    except (ValueError, TypeError, SyntaxError, OSError) as error:
        raise ValueError(f"{wrong}: {error}.") from None
    return value


def signing_keys(value: str) -> str:
    """Private keys, by their look: whoever signs reads them, and loads what it takes for that."""
    if not re.match(r"\s*(-----BEGIN [A-Z ]*PRIVATE KEY-----|\{)", value):
        raise ValueError("Neither a private key in PEM nor a JWK set.")
    return value


def file(value: str) -> Path:
    """A file that is there."""
    path = Path(value).expanduser()
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    return path.resolve()


def folder(value: str) -> Path:
    """A folder, which need not be there yet."""
    return Path(value).expanduser().absolute()


def issuer(value: str) -> str:
    """The address of an issuer: https, and http only of this very host, for tests."""
    wrong = "Not of the form https://host/path."
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError(wrong) from None
    if not host or url.scheme not in ("http", "https") or "@" in url.netloc or "#" in value:
        raise ValueError(wrong)
    if url.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError("Must be https.")
    return value


def collector(value: str) -> str:
    """The base URL of what takes telemetry."""
    wrong = "Not of the form http://host:4318."
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError(wrong) from None
    if not host or url.scheme not in ("http", "https") or url.query or url.fragment:
        raise ValueError(wrong)
    return value.rstrip("/")


def ratio(value: str) -> float:
    """A share, from 0 to 1."""
    try:
        number = float(value)
    except ValueError:
        raise ValueError("Not a valid number.") from None
    if not 0 <= number <= 1:
        raise ValueError("Must be from 0 to 1.")
    return number


def sentry_dsn(value: str) -> str:
    """A data source name of Sentry: whose key it is, where events go, and of which project."""
    wrong = "Not a Sentry DSN (https://key@host/project)."
    try:
        url = urlsplit(value)
        named = url.scheme in ("http", "https") and url.username and url.hostname and url.port != 0
        usable = named and re.fullmatch(r"/(?:[\w./-]*/)?\d+", url.path)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(wrong)
    return value


def base_url(value: str) -> str:
    """`scheme://host[:port]` without a path, spelled as browsers do: they ask for punycode."""
    wrong = "Not of the form https://host or http://host:port."
    try:
        url = ada_url.URL(value)
    except ValueError:
        raise ValueError(wrong) from None
    if url.protocol not in ("http:", "https:") or url.href != f"{url.origin}/":
        raise ValueError(wrong)
    return str(url.origin)


def origins(value: str) -> tuple[str, ...]:
    """A list of origins, `https://host[:port]`, spelled as browsers send them; or `*` alone."""
    found = comma_list(value)
    if found != ("*",) and any("*" in origin for origin in found):
        raise ValueError("Must be whole origins, or `*` alone.")
    return tuple(origin if origin == "*" else base_url(origin) for origin in found)


def _in_range(number: float, low: int, high: int | None) -> float:
    if number < low or (high is not None and number > high):
        most = "" if high is None else f" and less than or equal to {high}"
        raise ValueError(f"Must be greater than or equal to {low}{most}.")
    return number
