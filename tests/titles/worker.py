"""scripts/run-jobs, for a public internet that is one server on loopback: its port is the argument.

Not a setting: in the product nothing makes a private address a public one.
"""

from __future__ import annotations

import socket
import sys

from api.core.outbound.dialing import Dialing
from api.core.tracing.process import traced_process
from api.jobs.application import make_celery
from api.jobs.queue import JobQueue
from api.jobs.worker import JobWorker
from config.logging import configure_logging
from config.settings import Settings

PORT = int(sys.argv[1])


def dial(address: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection(("127.0.0.1", PORT), seconds)


def main() -> int:
    settings = Settings.load()
    configure_logging(settings)
    celery = make_celery(settings)
    assert celery is not None
    jobs = JobQueue.of(settings)
    assert jobs is not None
    public = Dialing(connect_seconds=2, resolver=lambda host, port: ["93.184.216.34"], dialer=dial)
    with traced_process(settings, "signpost-worker"):
        return JobWorker(settings, celery, jobs, public).run()


if __name__ == "__main__":
    sys.exit(main())
