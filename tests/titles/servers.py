"""Web servers on loopback that behave as badly as they are asked to, and a public internet that
leads to them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from api.core.outbound.client import PageReader
from api.core.outbound.dialing import Dialing

PUBLIC = "93.184.216.34"
Answer = Callable[[socket.socket, "Asked"], None]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    line: str
    headers: dict[str, str]


class Server:
    """Answers each connection with one call of `answer`."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        try:
            with connection:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with connection:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        received = connection.recv(4096)
                        if not received:
                            return
                        data += received
                    line, *rest = data.decode("latin-1").split("\r\n")
                    named = [field.partition(": ") for field in rest if field]
                    asked = Asked(line, {name.lower(): value for name, _, value in named})
                    self.asked.append(asked)
                    self.answer(connection, asked)
        except OSError:
            return  # the client went away, as it should


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(answer, tls)
    try:
        yield server
    finally:
        server.close()


def send(body: bytes = b"", *, status: str = "200 OK", **headers: str) -> Answer:
    """An answer that is what it should be."""
    fields = {"content-type": "text/html", "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    def answer(connection: socket.socket, _: Asked) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body)

    return answer


def page(title: str, **headers: str) -> Answer:
    return send(f"<!doctype html><title>{title}</title><p>x".encode(), **headers)


@dataclass
class Internet:
    """Names stand for addresses, and every address leads to one server: what was asked and what
    was connected to is noted. Nothing of what is refused is any different."""

    server: Server
    # For each question about a name its answer; the last one from then on.
    names: dict[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        del port
        self.resolved.append(host)
        answers = self.names.get(host)
        if answers is None:
            try:
                socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
            except OSError:
                return [PUBLIC]
            return [host]
        return answers[min(self.resolved.count(host), len(answers)) - 1]

    def dial(self, address: str, port: int, seconds: float) -> socket.socket:
        self.dialled.append((address, port))
        return socket.create_connection(("127.0.0.1", self.server.port), seconds)

    def dialing(self) -> Dialing:
        return Dialing(connect_seconds=1.0, resolver=self.resolve, dialer=self.dial)

    def reader(self, seconds: float = 3.0, **options: object) -> PageReader:
        return PageReader(
            self.dialing(),
            user_agent="Mozilla/5.0 (compatible; Signpost; +https://sign.test/)",
            total_seconds=seconds,
            size_bytes=512 * 1024,
            **options,  # type: ignore[arg-type]
        )


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of `name` that vouches for itself, and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    here, secret = folder / f"{name}.pem", folder / f"{name}.key"
    here.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return here, secret
