"""Exports, and what is counted of them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from api.core.metrics.families import Told, counter, gauge
from api.identity.service import IdentityService
from api.links.schemas import Presenter
from api.links.service import LinkService
from api.stats.service import StatsService
from api.transfers.archives.service import ArchiveService
from api.transfers.exports.places import Limits, Places
from api.transfers.exports.service import ExportService
from api.wiring.parts import Parts

# Before PostgreSQL ends the transaction of somebody who stands still, he is cut off.
_IDLE_MARGIN_SECONDS = 10.0


def add_exports(parts: Parts, links: LinkService, identity: IdentityService) -> None:
    """Offer exports and archives, which end when the process is told to stop."""
    settings = parts.settings
    places = Places(
        Limits(
            exports=settings.export_streams,
            exports_per_workspace=settings.export_streams_per_workspace,
            stuck_seconds=settings.export_stuck_seconds,
        )
    )
    parts.runtime.on_end_answers.append(places.end)
    parts.metrics.register(_metrics(places))
    idle_seconds = settings.export_stuck_seconds + _IDLE_MARGIN_SECONDS
    presenter = Presenter(settings.public_url, settings.default_domain)
    parts.offer(
        ExportService(
            parts.db,
            links,
            parts.domains,
            presenter.short_url,
            places,
            parts.secret,
            idle_seconds=idle_seconds,
        ),
        ArchiveService(
            parts.db,
            identity,
            StatsService(parts.db, links),
            presenter.short_url,
            places,
            idle_seconds=idle_seconds,
        ),
    )


def _metrics(places: Places) -> Told:
    """What is exported, and was."""

    def tell() -> Iterator[Metric]:
        yield gauge("signpost_exports_running", "Exports.", {(): float(len(places.running()))})
        labels = ("kind", "outcome")
        yield counter("signpost_exports", "Exports that are over.", dict(places.outcomes), labels)
        for name, meaning, values in (
            ("rows", "Rows that were exported.", places.rows),
            ("bytes", "Bytes that they took on their way.", places.size_bytes),
        ):
            by_kind = {(kind,): number for kind, number in values.items()}
            yield counter(f"signpost_export_{name}", meaning, by_kind, ("kind",))

    return Told(tell)
