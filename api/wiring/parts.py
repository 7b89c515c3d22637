"""What every side of the application stands on."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask

from api.clicks.spool import Spool
from api.core.database.routing import Database
from api.core.decisions import LimitDecisions
from api.core.evictions import Evictions
from api.core.limits import AddressLimits
from api.core.registry import register_service
from api.core.transport import Transport
from api.domains.service import DomainService
from api.operations.metrics import MetricsService
from api.runtime import Runtime
from api.targets.known import KnownRules
from config.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Made once for an application, and given to each of its sides."""

    app: Flask
    settings: Settings
    secret: bytes
    db: Database
    evictions: Evictions
    spool: Spool
    domains: DomainService
    blocked: KnownRules
    limits: AddressLimits
    decisions: LimitDecisions
    metrics: MetricsService
    transport: Transport
    runtime: Runtime

    def offer(self, *services: object) -> None:
        """Let routes find services by their class."""
        for one in services:
            register_service(self.app, one)
