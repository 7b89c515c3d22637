"""A Shlink, a Kutt and a YOURLS on loopback: their lists, page by page, for those with the key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "the key of the tests"
_BEGAN = datetime(2024, 1, 1, tzinfo=UTC)

Fields = dict[str, Any]
Answer = tuple[int, Any]


class Service:
    """One service; it may be told to be busy, or to leave in the middle of an answer."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[Fields] = []
        # Of the requests to come: status and headers that are answered instead; None: cut.
        self.troubles: list[tuple[int, dict[str, str]] | None] = []
        # How many links are made before each answer.
        self.growth: list[int] = []
        self.url = ""

    def answer(self, path: str, query: Fields, headers: Any) -> Answer:
        raise NotImplementedError

    def numbers(self, newest_first: bool, start: int, size: int) -> list[int]:
        """The links of a page."""
        found = range(self.count)
        return list((found[::-1] if newest_first else found)[start : start + size])


class Shlink(Service):
    """Shlink 4."""

    def answer(self, path: str, query: Fields, headers: Any) -> Answer:
        if headers["X-Api-Key"] != KEY:
            return 401, {"title": "Invalid API key", "status": 401}
        if path != "/rest/v3/short-urls" or query["orderBy"] != "dateCreated-ASC":
            return 404, {"title": "Not Found", "status": 404}
        size, page = int(query["itemsPerPage"]), int(query["page"])
        pages = max(1, -(-self.count // size))
        data = [self._link(n) for n in self.numbers(False, (page - 1) * size, size)]
        found = {"currentPage": page, "pagesCount": pages, "totalItems": self.count}
        return 200, {"shortUrls": {"data": data, "pagination": found}}

    def _link(self, number: int) -> Fields:
        return {
            "shortCode": f"s{number}",
            "shortUrl": f"https://sign.test/s{number}",
            "longUrl": f"https://example.com/{number}",
            "dateCreated": _made(number).isoformat(),
            "visitsSummary": {"total": number, "nonBots": number, "bots": 0},
            "tags": ["a"] if number % 2 else [],
            "meta": {"validSince": None, "validUntil": None, "maxVisits": None},
            "domain": None,
            "title": None,
            "crawlable": number % 10 == 0,
            "forwardQuery": True,
            "hasRedirectRules": False,
        }


class Kutt(Service):
    """Kutt 3, which lists the newest first and never more than 50."""

    def answer(self, path: str, query: Fields, headers: Any) -> Answer:
        if headers["X-API-Key"] != KEY:
            return 401, {"error": "Unauthorized"}
        if path != "/api/v2/links":
            return 404, {"error": "Not found"}
        size, skip = min(int(query["limit"]), 50), int(query["skip"])
        data = [self._link(n) for n in self.numbers(True, skip, size)]
        return 200, {"limit": size, "skip": skip, "total": self.count, "data": data}

    def _link(self, number: int) -> Fields:
        return {
            "id": f"00000000-0000-4000-8000-{number:012}",
            "address": f"k{number}",
            "banned": False,
            "created_at": _made(number).isoformat().replace("+00:00", ".000Z"),
            "password": number % 10 == 0,
            "description": None,
            "expire_in": None,
            "target": f"https://example.com/{number}",
            "visit_count": number,
            "domain": None,
            "link": f"https://sign.test/k{number}",
        }


class Yourls(Service):
    """YOURLS 1.10."""

    def answer(self, path: str, query: Fields, headers: Any) -> Answer:
        if query.get("signature") != KEY:
            return 403, {"message": "Please log in", "errorCode": 403}
        if path != "/yourls-api.php" or (query["action"], query["filter"]) != ("stats", "last"):
            return 400, {"message": "Unknown or missing action", "errorCode": 400}
        numbers = self.numbers(True, int(query["start"]), int(query["limit"]))
        links = {f"link_{place}": self._link(n) for place, n in enumerate(numbers, 1)}
        stats = {"total_links": str(self.count), "total_clicks": "0"}
        return 200, {"links": links, "stats": stats, "statusCode": 200, "message": "success"}

    def _link(self, number: int) -> Fields:
        return {
            "shorturl": f"https://sign.test/y{number}",
            "url": f"https://example.com/{number}",
            "title": f"Number {number}",
            "timestamp": _made(number).strftime("%Y-%m-%d %H:%M:%S"),
            "ip": "198.51.100.7",
            "clicks": str(number),
        }


def _made(number: int) -> datetime:
    return _BEGAN + timedelta(minutes=number)


@contextmanager
def running(service: Service) -> Iterator[str]:
    """Answers for the service; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(parse_qs(body))

        def _answer(self, fields: dict[str, list[str]]) -> None:
            query = {name: values[0] for name, values in fields.items()}
            service.asked.append(query)
            trouble = service.troubles.pop(0) if service.troubles else (0, {})
            if service.growth:
                service.count += service.growth.pop(0)
            status, content = service.answer(urlsplit(self.path).path, query, self.headers)
            body = json.dumps(content).encode()
            if trouble is not None and trouble[0]:
                status, body = trouble[0], b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in (trouble or (0, {}))[1].items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if trouble is not None else body[: len(body) // 2])
            self.close_connection = trouble is None

        def log_message(self, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
