"""Where an embedded server puts its unix socket.

The kernel allows about 100 bytes for a socket's path. A home that is deeper than that gets a short
private folder under the temporary directory; a file in the home remembers it.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path

from api.core.embedded.accounts import Account

# 104 on macOS and 108 on Linux, less the final zero and the longest of our file names.
LONGEST_FOLDER = 103 - len("/.s.PGSQL.65535.lock")
_MEMO = "socket-folder"


def make_socket_folder(home: Path, account: Account) -> Path:
    """A folder that only `account` can enter, short enough for a socket; the same at each start."""
    folder = find_socket_folder(home)
    if folder is None:
        folder = home / "socket"
        if len(bytes(folder)) > LONGEST_FOLDER:
            folder = Path(tempfile.mkdtemp(prefix="signpost-"))
            (home / _MEMO).write_text(str(folder))
    folder.mkdir(mode=0o700, exist_ok=True)
    account.own(folder)
    return folder


def find_socket_folder(home: Path) -> Path | None:
    """The folder that an earlier start made, if it is still there and private."""
    try:
        folder = Path((home / _MEMO).read_text())
    except OSError:
        folder = home / "socket"
    try:
        state = folder.lstat()
    except OSError:
        return None
    # Anyone may make a folder of that name under /tmp after a clean-up there took ours.
    ours = state.st_uid == home.stat().st_uid and not state.st_mode & 0o077
    return folder if stat.S_ISDIR(state.st_mode) and ours else None


def drop_socket_folder(home: Path) -> None:
    """Remove the short folder, if there is one."""
    memo = home / _MEMO
    if memo.exists():
        folder = find_socket_folder(home)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        memo.unlink()
