"""Under which account an embedded server runs.

PostgreSQL refuses to run as root. When we are root, the servers run as an unprivileged account,
which may be unable to reach a clone or a data folder inside /root: then they get the one
capability that lets a process pass folders, and nothing else of root's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.core.embedded.errors import EmbeddedError

# Least first: read and pass any folder; else (containers drop that one) also write.
CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}


@dataclass(frozen=True)
class Account:
    """Who runs a server; the default is whoever we are."""

    user_id: int | None = None
    group_id: int | None = None
    capability: str | None = field(default=None)

    def own(self, *paths: Path) -> None:
        """Give `paths` to this account."""
        if self.user_id is not None and self.group_id is not None:
            for path in paths:
                os.chown(path, self.user_id, self.group_id, follow_symlinks=False)

    def command(self, arguments: Sequence[str], death_signal: signal.Signals) -> list[str]:
        """The command line that runs `arguments` as this account.

        setpriv sets the signal of the parent's death after it changed the user: the kernel forgets
        one that was set before.
        """
        if self.capability is None:
            return list(arguments)
        prefix = [
            "setpriv",
            f"--reuid={self.user_id}",
            f"--regid={self.group_id}",
            "--clear-groups",
            "--no-new-privs",
            "--securebits=+no_setuid_fixup",  # else access(2), which initdb uses, ignores them
            f"--inh-caps=-all,+{self.capability}",
            f"--ambient-caps=-all,+{self.capability}",
            f"--bounding-set=-all,+{self.capability}",
            f"--pdeathsig={death_signal.name.removeprefix('SIG')}",
            "--",
        ]
        return [*prefix, *arguments]

    def popen_options(self) -> dict[str, Any]:
        """What `subprocess.Popen` must know to run a process as this account."""
        if self.user_id is None or self.capability is not None:
            return {}
        return {"user": self.user_id, "group": self.group_id, "extra_groups": []}


def choose_account(folder: Path, program: Path, setting: str) -> Account:
    """The account that can run `program` on `folder`.

    Raises:
        EmbeddedError: no account can; the message names `setting`, which does without.
    """
    if os.geteuid() != 0:
        return Account()
    entry = _unprivileged(folder)
    plain = Account(entry.pw_uid, entry.pw_gid)
    plain.own(folder)
    for account in [plain, *_with_capability(entry)]:
        if _reaches(account, folder, program):
            return account
    raise EmbeddedError(
        f"root may not run {program.name}, and account {entry.pw_name!r} cannot reach {folder} or "
        f"{program.parent}: move them out of private folders, or set {setting}"
    )


def _unprivileged(folder: Path) -> pwd.struct_passwd:
    """Whoever owns the folder already; else `postgres`; else `nobody`."""
    owner = folder.stat().st_uid
    try:
        if owner != 0:
            return pwd.getpwuid(owner)
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _with_capability(entry: pwd.struct_passwd) -> list[Account]:
    """The account with each capability that we have to give, where setpriv is there to do it."""
    if shutil.which("setpriv") is None:
        return []
    permitted = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            permitted = int(line.split()[1], 16)
    return [
        Account(entry.pw_uid, entry.pw_gid, name)
        for name, number in CAPABILITIES.items()
        if permitted >> number & 1
    ]


def _reaches(account: Account, folder: Path, program: Path) -> bool:
    """Try it: start the program, then enter the folder."""
    script = 'test -x "$1" && "$1" --version && cd "$2" && test -w .'
    arguments = ["/bin/sh", "-c", script, "sh", str(program), str(folder)]
    try:
        done = subprocess.run(
            account.command(arguments, signal.SIGKILL),
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **account.popen_options(),
        )
    except OSError:
        return False
    return done.returncode == 0
