"""The client at the other end of a request, as far as the server shows its connection."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import sys
import termios

# Close without a farewell: a client whose answer has no length takes that for no end of it.
_RESET = struct.pack("ii", 1, 0)


class Connection:
    """The socket of a request."""

    def __init__(self, connection: socket.socket | None, *, chunked: bool = False) -> None:
        """`chunked`: answers without a length have an end that a client misses when it is left
        out, as those of HTTP/1.1 do."""
        self._socket = connection
        self._chunked = chunked

    def gone(self) -> bool:
        """Whether the client has closed it: a server that only writes finds out late."""
        if self._socket is None:
            return False
        timeout = self._socket.gettimeout()
        try:
            self._socket.settimeout(0)
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except (BlockingIOError, ValueError):  # ValueError: TLS cannot be looked into
            return False
        except OSError:
            return True
        finally:
            with contextlib.suppress(OSError):
                self._socket.settimeout(timeout)

    def unsent_bytes(self) -> int | None:
        """How much of what was given to the kernel is still to reach the client; None where it does
        not tell. It changes for as long as the client takes anything."""
        if self._socket is None:
            return None
        with contextlib.suppress(OSError):
            told = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
            return int.from_bytes(told, sys.byteorder)
        return None

    def abort(self) -> None:
        """End it, even while something is being sent."""
        if self._socket is None:
            return
        # Through another descriptor: gevent would raise EBADF where this one is being written,
        # which gunicorn takes for a fault of ours; EPIPE is what a client that left causes.
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(self._socket.fileno())) as connection,
        ):
            connection.shutdown(socket.SHUT_RDWR)

    def reset_at_close(self) -> None:
        """Have the client see, once the server closes it, that its answer was not whole; only where
        nothing else tells it, as what is still on its way is lost with a reset."""
        if self._socket is not None and not self._chunked:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
