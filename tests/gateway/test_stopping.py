"""What a server does for those who are still there when it is told to stop: no POST of theirs may
meet a connection that is closed just then, as nobody would dare to send it twice."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack

from api.core import worker
from api.operations.gateway import configuration
from tests.gateway.system import Server, System
from tests.running import children_of

# Refused for lack of a key: an answer like another.
_POST = b"POST /api/v1/links HTTP/1.1\r\nHost: go.test\r\nContent-Length: 2\r\n\r\n{}"


def post(connection: socket.socket) -> bytes:
    connection.sendall(_POST)
    return connection.recv(65_536)


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.place.rpartition(":")[2])), 20)


def test_connections_that_wait_to_be_accepted_are_served(system: System) -> None:
    server = system.apis[0]
    assert server.process is not None
    (busy,) = children_of(server.process.pid)
    with ExitStack() as stack:
        os.kill(busy, signal.SIGSTOP)  # as one that has too much to do
        waiting = [stack.enter_context(connect(server)) for _ in range(20)]
        for connection in waiting:
            connection.sendall(_POST)
        server.ask_to_stop()
        time.sleep(0.5)  # its master listens no more
        os.kill(busy, signal.SIGCONT)
        for connection in waiting:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")
    server.stop()
    server.begin()
    server.wait()


def test_idle_connections_are_served_for_longer_than_the_gateway_keeps_them(
    system: System,
) -> None:
    assert configuration.IDLE_UPSTREAM_SECONDS + 0.5 < worker.LAST_REQUEST_SECONDS
    server = system.apis[1]
    assert server.process is not None
    with connect(server) as silent, connect(server) as connection:
        for one in (silent, connection):
            assert b"Connection: keep-alive" in post(one)
        server.ask_to_stop()
        time.sleep(configuration.IDLE_UPSTREAM_SECONDS + 0.5)
        answer = post(connection)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"Connection: close" in answer
        assert connection.recv(1) == b""
        # Nor does one that stays silent hold up the end.
        server.process.wait(worker.LAST_REQUEST_SECONDS + 6)
        assert silent.recv(1) == b""
    server.begin()
    server.wait()
