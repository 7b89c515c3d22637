"""Finds the services of the running application by their class."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from flask import Flask, current_app

Service = TypeVar("Service")
_KEY = "signpost.services"


def register_service(app: Flask, instance: object) -> None:
    """Make `instance` the application's service of its class."""
    app.extensions.setdefault(_KEY, {})[type(instance)] = instance


def service(kind: type[Service]) -> Service:
    """The application's service of this class."""
    services: dict[type, Any] = current_app.extensions[_KEY]
    return cast(Service, services[kind])
