"""The two families of tables, each with its own migration lineage."""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

# Names are given by rule, so that a migration and a caught violation can refer to them.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class DirectoryTable(DeclarativeBase):
    """A table of the directory database: small, one for the whole installation."""

    metadata = MetaData(naming_convention=_NAMES)


class ShardTable(DeclarativeBase):
    """A table of every shard. `slot` leads its primary key, so that slots can be moved."""

    metadata = MetaData(naming_convention=_NAMES)
