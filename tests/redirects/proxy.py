"""A TCP relay that stands before a server, and can be cut or left to hang."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

_SLICE_SECONDS = 0.05
_LISTEN_SECONDS = 10.0


class Relay:
    """Passes connections on to `host:port` until `cut()`; again after `restore()`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._silent = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Refuse new connections, and end those that are open."""
        self._running.clear()
        _shut(self._listener)  # whoever is in accept() would keep it listening for a moment
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _shut(connection)

    def hang(self) -> None:
        """Take everything, and say nothing any more."""
        self._silent.set()

    def restore(self) -> None:
        """Pass on again."""
        self._silent.clear()
        if not self._running.is_set():
            if self._listener.fileno() < 0:
                self._listener = self._listen(self.port)
            self._running.set()
            self._start(self._accept, self._listener)

    def _listen(self, port: int) -> socket.socket:
        deadline = time.monotonic() + _LISTEN_SECONDS
        while True:
            try:
                listener = socket.create_server(("127.0.0.1", port))
            except OSError:
                # Somebody's connection has the port for its own end; most are short.
                if time.monotonic() > deadline:
                    raise
                time.sleep(_SLICE_SECONDS)
            else:
                listener.settimeout(_SLICE_SECONDS)
                return listener

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while self._running.is_set():
            try:
                downstream, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._upstream)
            except OSError:
                downstream.close()
                continue
            with self._lock:
                self._open |= {downstream, upstream}
            self._start(self._pass_on, downstream, upstream)
            self._start(self._pass_on, upstream, downstream)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while self._silent.is_set() and not self._stopped.wait(_SLICE_SECONDS):
                    pass
                sink.sendall(data)
        except OSError:
            pass
        for connection in (source, sink):
            _shut(connection)
        with self._lock:
            self._open.discard(source)
        source.close()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
