"""Imports: what receives them, and who is told of them."""

from __future__ import annotations

from api.jobs.queue import JobQueue
from api.links.schemas import Presenter
from api.transfers.imports.events import ImportEvents
from api.transfers.imports.service import ImportService
from api.wiring.parts import Parts


def add_imports(parts: Parts, jobs: JobQueue | None) -> None:
    """Receive imports; without a queue for jobs they are refused."""
    settings = parts.settings
    presenter = Presenter(settings.public_url, settings.default_domain)
    offer = None if jobs is None else jobs.load_import
    events = ImportEvents(settings.live_streams, settings.live_streams_per_workspace)
    # They would go on for as long as there is something to tell.
    parts.runtime.on_end_answers.append(events.end)
    parts.offer(ImportService(parts.db, settings, parts.secret, offer, presenter.short_url), events)
