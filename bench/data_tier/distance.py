"""Puts a server at a distance: what is sent to it, and what it says, arrives some time later.

python -m bench.data_tier.distance SECONDS LISTEN=CONNECT...    until its standard input ends
"""

from gevent import monkey

monkey.patch_all()

import select  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent import socket  # noqa: E402
from gevent.queue import Queue  # noqa: E402
from gevent.server import StreamServer  # noqa: E402

_CHUNK = 1 << 16


def _delay(source: Any, target: Any, seconds: float) -> None:
    """Hand on what comes, each piece so much later, until it ends."""
    pieces: Any = Queue()

    def send() -> None:
        while True:
            due, piece = pieces.get()
            gevent.sleep(max(due - time.monotonic(), 0))
            if not piece:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(piece)

    sending = gevent.spawn(send)
    while not sending.ready():
        piece = source.recv(_CHUNK)
        pieces.put((time.monotonic() + seconds, piece))
        if not piece:
            break
    sending.join()


def _between(port: int, seconds: float) -> Any:
    def handle(client: Any, _: Any) -> None:
        server = socket.create_connection(("127.0.0.1", port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gevent.joinall(
            [
                gevent.spawn(_delay, client, server, seconds),
                gevent.spawn(_delay, server, client, seconds),
            ]
        )

    return handle


def main() -> None:
    """Stand between until nobody wants it any more."""
    seconds, *pairs = sys.argv[1:]
    for pair in pairs:
        listen, _, connect = pair.partition("=")
        place = ("127.0.0.1", int(listen))
        StreamServer(place, _between(int(connect), float(seconds))).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    select.select([sys.stdin], [], [])  # which lets others go on meanwhile


if __name__ == "__main__":
    main()
