"""TLS to servers and of our own: what URLs and settings say of it, read while the start can still
be refused.

Each client of a server makes its own context of the same URL; here it is only looked at, so that a
missing file is one line at the start and not a dependency that never comes up.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    import pika

_LIBPQ_NAMES = frozenset(
    (
        "sslmode sslrootcert sslcert sslkey sslpassword sslcrl sslcrldir sslsni sslcertmode "
        "sslcompression sslnegotiation ssl_min_protocol_version ssl_max_protocol_version"
    ).split()
)
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# libpq's own place for the certificate of an authority, of the account that runs the process.
_DEFAULT_ROOT = Path("~/.postgresql/root.crt")
# As RabbitMQ's own clients name them.
_AMQP_NAMES = ("cacertfile", "certfile", "keyfile", "server_name_indication", "verify")


def check_database(url: str) -> None:
    """Look at what a PostgreSQL URL says of TLS.

    Raises:
        ValueError: there is no such mode or parameter, or a file cannot be read.
    """
    # What else may be wrong with it is for libpq to say.
    asked = dict(parse_qsl(url.rpartition("?")[2]))
    unknown = [name for name in asked if name.startswith("ssl") and name not in _LIBPQ_NAMES]
    if unknown:
        raise ValueError(f"{unknown[0]}: libpq knows no such parameter.")
    mode = asked.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        raise ValueError(f"sslmode: Must be one of: {', '.join(_SSL_MODES)}.")
    root = asked.get("sslrootcert", os.environ.get("PGSSLROOTCERT", ""))
    if mode.startswith("verify-") and not root:
        root = str(_DEFAULT_ROOT.expanduser())
    if root and root != "system":
        _check_authority("sslrootcert", root)
    for name in ("sslcert", "sslkey", "sslcrl"):
        if name in asked:
            _check_file(name, asked[name])


def check_redis(url: str) -> None:
    """Look at what a Redis URL says of TLS, and of anything else.

    Raises:
        ValueError: the client cannot use it, or a file cannot be read.
    """
    from redis import ConnectionPool, RedisError, SSLConnection  # noqa: PLC0415 - not in all

    try:
        connection: Any = ConnectionPool.from_url(url).make_connection()
    except (ValueError, TypeError, RedisError) as error:
        raise ValueError(f"Not a Redis URL: {error}.") from None
    if isinstance(connection, SSLConnection):
        if connection.ca_certs is not None:
            _check_authority("ssl_ca_certs", connection.ca_certs)
        for name, path in (
            ("ssl_certfile", connection.certfile),
            ("ssl_keyfile", connection.keyfile),
        ):
            if path is not None:
                _check_file(name, path)


def amqp_parameters(url: str) -> pika.URLParameters:
    """How to connect to the RabbitMQ at `url`: what pika reads of it, and the names by which
    RabbitMQ's own clients ask for TLS (`cacertfile`, `certfile`, `keyfile`,
    `server_name_indication`).

    Raises:
        ValueError: it makes no sense, or a file cannot be read.
    """
    import pika  # noqa: PLC0415 - most installations have no broker

    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    asked = {name: value for name, value in query if name in _AMQP_NAMES}
    if not asked:
        return pika.URLParameters(url)
    rest = urlencode([(name, value) for name, value in query if name not in _AMQP_NAMES])
    parameters = pika.URLParameters(parts._replace(query=rest).geturl())
    if parts.scheme != "amqps" or "ssl_options" in dict(query):
        raise ValueError(f"{next(iter(asked))}: Only of amqps://, and not beside ssl_options.")
    if asked.get("verify", "verify_peer") != "verify_peer":
        raise ValueError("verify: Must be verify_peer.")
    if "cacertfile" in asked:
        _check_authority("cacertfile", asked["cacertfile"])
    context = ssl.create_default_context(cafile=asked.get("cacertfile"))
    if "certfile" in asked:
        _check_file("certfile", asked["certfile"])
        _load_chain(context, asked["certfile"], asked.get("keyfile"))
    parameters.ssl_options = pika.SSLOptions(context, asked.get("server_name_indication"))
    return parameters


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """What our own web server says to clients, TLS 1.2 and newer.

    Raises:
        ValueError: the files cannot be read, or do not belong together.
    """
    context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_chain(context, str(certificate), str(key) if key else None)
    return context


class _ServerContext(ssl.SSLContext):
    """Leaves the handshake to the worker, which does not wait for it for ever."""

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **{**kwargs, "do_handshake_on_connect": False})


def _check_authority(name: str, path: str) -> None:
    _check_file(name, path)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"{name}: {path} holds no certificate.") from None


def _check_file(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{name}: Cannot read {path} ({error.strerror}).") from None


def _load_chain(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    for path in (certificate, key or certificate):
        _check_file("certificate or key", path)
    try:
        # Without an answer OpenSSL would ask the terminal for the password of a key that has one.
        context.load_cert_chain(certificate, key, password="")  # nosec B106
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ValueError(f"{certificate} and its key cannot be used: {reason}.") from None
