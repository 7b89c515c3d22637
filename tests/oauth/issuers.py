"""An issuer of OpenID Connect on loopback, as good or as bad as a test wants it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

AUDIENCE = "signpost"
ALGORITHMS = JWSRegistry.algorithms


def encoded(part: Any) -> str:
    """A part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Its keys, its documents, and how often it was asked for them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[str] = []
        self.broken = False
        self.documents: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}
        self.add_key("ec", ECKey.generate_key("P-256"))
        self.documents["/.well-known/openid-configuration"] = {
            "issuer": address,
            "jwks_uri": f"{address}/keys",
        }

    def add_key(self, kid: str, key: ECKey | RSAKey | OKPKey) -> None:
        """Publish a key."""
        given = key.as_dict(private=True) | {"kid": kid, "use": "sig"}
        self.keys[kid] = type(key).import_key(given)
        public = [each.as_dict(private=False) for each in self.keys.values()]
        self.documents["/keys"] = {"keys": public}

    def token(self, kid: str = "ec", alg: str = "ES256", header: Any = None, **claims: Any) -> str:
        """A token that this issuer signs."""
        now = int(time.time())
        given = {"iss": self.address, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300}
        said = {name: value for name, value in (given | claims).items() if value is not None}
        head = {"alg": alg, "kid": kid} | (header or {})
        text = f"{encoded(head)}.{encoded(said)}"
        return f"{text}.{encoded(ALGORITHMS[alg].sign(text.encode(), self.keys[kid]))}"


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer that answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            if issuer.broken or self.path not in issuer.documents:
                self.send_error(500)
                return
            document = issuer.documents[self.path]
            if isinstance(document, str):
                self.send_response(302)
                self.send_header("Location", document)
                self.end_headers()
                return
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
