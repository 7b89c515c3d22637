"""Whether each server allows as many connections as the processes of an installation may open."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, literal_column, select

from api.core.database.demand import demand_of
from api.core.database.prepared import Question, ReadOnce
from api.core.database.routing import Database
from api.core.database.servers import Server
from api.core.errors import Unavailable
from config.settings import Settings

log = logging.getLogger(__name__)


def _number(setting: str) -> str:
    return f"coalesce(current_setting('{setting}', true)::int, 0)"


# A role and a database may be allowed less than the server; -1 is no limit of their own.
_ALLOWED = Question(
    select(
        literal_column(_number("max_connections")).label("most"),
        literal_column(
            f"{_number('superuser_reserved_connections')} + {_number('reserved_connections')}"
        ).label("reserved"),
        func.coalesce(
            literal_column(
                "(SELECT min(most) FROM (SELECT rolconnlimit AS most FROM pg_roles"
                " WHERE rolname = current_user UNION ALL SELECT datconnlimit FROM pg_database"
                " WHERE datname = current_database()) AS limits WHERE most >= 0)"
            )
        ).label("own"),
    )
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many connections a server lets our account open."""

    most: int
    reserved: int
    # A bound of the role or the database; None: there is none.
    own: int | None

    @property
    def allowed(self) -> int:
        """All that counts taken together."""
        free = self.most - self.reserved
        return free if self.own is None else min(free, self.own)


def ask_allowance(connection: ReadOnce) -> Allowance:
    """What a server says."""
    row = connection.ask(_ALLOWED)[0]
    return Allowance(row.most, row.reserved, row.own)


def check_capacity(db: Database, settings: Settings) -> None:
    """Compare that with what each server allows, and warn where it is less; never fails.

    Behind PgBouncer the server allows PgBouncer, and PgBouncer us.
    """
    if db.transactions_only:
        return
    try:
        servers = db.all_servers()
    except Unavailable as error:
        log.info("whether the servers allow enough connections is not known: %s", error)
        return
    for group in by_server(servers).values():
        _check_server(group, settings)


def by_server(servers: Iterable[Server]) -> Mapping[tuple[str, str], Sequence[Server]]:
    """Databases of one server share what it allows."""
    groups: dict[tuple[str, str], list[Server]] = defaultdict(list)
    for server in servers:
        place = (str(server.parameters.get("host", "")), str(server.parameters.get("port", "")))
        groups[place].append(server)
    return groups


def _check_server(databases: Sequence[Server], settings: Settings) -> None:
    names = ", ".join(server.name for server in databases)
    try:
        with databases[0].read_once() as connection:
            found = ask_allowance(connection)
    except Unavailable as error:
        log.info("whether %s allows enough connections is not known: %s", names, error)
        return
    each = demand_of(settings)
    needed = each.total * len(databases)
    if needed <= found.allowed:
        return
    several = f", for each of {len(databases)} databases: {needed}" if len(databases) > 1 else ""
    own = "" if found.own is None else f", role or database limited to {found.own}"
    log.warning(
        "%s may refuse connections under load: it allows %d (max_connections %d, of which %d are"
        " reserved%s), and the processes of this host may open %s%s. Lower DB_POOL_SIZE,"
        " DB_MAX_OVERFLOW or WEB_CONCURRENCY, raise max_connections, or use PgBouncer.",
        names, found.allowed, found.most, found.reserved, own, each, several,
    )  # fmt: skip
