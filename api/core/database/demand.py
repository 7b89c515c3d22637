"""How many connections the processes of an installation may open to one database."""

from __future__ import annotations

from dataclasses import dataclass

from config.settings import Settings

# The click consumer prepares with one connection and writes with another; housekeeping, and the
# positions of replicas.
_CONSUMER = 4
# A job may use one of each pool; the search for lost ones is another.
_OF_A_JOB, _OF_ALL_JOBS = 2, 1
# Operators' scripts, and the next release's migration.
_SCRIPTS = 3


@dataclass(frozen=True, slots=True)
class Demand:
    """The most that may be open at the same time, by who opens it."""

    workers: int
    pool: int
    overflow: int
    statements: int
    probes: int
    consumer: int
    jobs: int

    @property
    def total(self) -> int:
        """All of it."""
        worker = self.pool + self.overflow + self.statements + self.probes
        return self.workers * worker + self.consumer + self.jobs + _SCRIPTS

    def __str__(self) -> str:
        probes = f" + {self.probes} to look at replicas" if self.probes else ""
        jobs = f" + jobs {self.jobs}" if self.jobs else ""
        return (
            f"{self.workers} web workers x ({self.pool} pool + {self.overflow} overflow"
            f" + {self.statements} single statements{probes})"
            f" + consumer {self.consumer}{jobs} + scripts {_SCRIPTS} = {self.total}"
        )


def demand_of(settings: Settings) -> Demand:
    """That of the processes of one host with these settings."""
    of_a_process = 2 * settings.db_pool_size + settings.db_max_overflow
    jobs = _OF_A_JOB * settings.job_threads + _OF_ALL_JOBS
    return Demand(
        workers=settings.web_concurrency,
        pool=settings.db_pool_size,
        overflow=settings.db_max_overflow,
        statements=settings.db_pool_size,
        probes=1 if settings.database_replica_urls or settings.shard_replica_urls else 0,
        consumer=min(_CONSUMER, of_a_process),
        jobs=min(jobs, of_a_process),
    )
