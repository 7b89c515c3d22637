"""What stops an import before or while its rows are read or sent."""

from __future__ import annotations

from api.core.errors import DomainError


class Unreadable(DomainError):
    """What was given is no export of the service that was named, or it is damaged."""

    code = "unreadable-source"
    title = "The source cannot be read"


class NotAnswered(DomainError):
    """A service refuses, or does not answer however often it is asked."""

    code = "source-unavailable"
    title = "The service does not answer"
