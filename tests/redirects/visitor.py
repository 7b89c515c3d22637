"""Somebody who opens short links."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask
from werkzeug.test import TestResponse

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@dataclass(frozen=True)
class Visitor:
    """Sends requests as a server hands them to the application: the target is taken as it is."""

    app: Flask
    host: str = "sign.test"
    address: str = "198.51.100.7"
    accept: str | None = None

    def open(self, target: str, method: str = "GET", **kwargs: Any) -> TestResponse:
        """Ask for a request target, a path in percent-encoding with or without a query."""
        path, _, query = target.partition("?")
        environ = {
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": target,
            "REMOTE_ADDR": self.address,
        }
        headers = {"Host": self.host} | ({"Accept": self.accept} if self.accept else {})
        headers |= dict(kwargs.pop("headers", {}))
        client = self.app.test_client()
        return client.open(
            "/", method=method, headers=headers, environ_overrides=environ, **kwargs, buffered=True
        )

    def follow(self, link: dict[str, Any], **kwargs: Any) -> TestResponse:
        """Open a link by its short address."""
        return self.open("/" + link["short_url"].split("/", 3)[3], **kwargs)

    def unlock(self, link: dict[str, Any], password: str, **kwargs: Any) -> TestResponse:
        """Send the form of a protected link."""
        return self.follow(link, method="POST", data={"password": password}, **kwargs)

    def at(self, host: str) -> Visitor:
        """The same visitor at another host."""
        return replace(self, host=host)

    def by_browser(self) -> Visitor:
        """The same visitor with a browser."""
        return replace(self, accept=BROWSER)

    def from_address(self, address: str) -> Visitor:
        """Another visitor."""
        return replace(self, address=address)
