"""The client at the other end of a request, as far as the server shows its connection."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

# Close without a farewell: a client whose answer has no length takes that for no end of it.
_RESET = struct.pack("ii", 1, 0)


class Connection:
    """The socket of a request."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._socket = connection

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
        """Have the client see, once the server closes it, that its answer was not whole."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
