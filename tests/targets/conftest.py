from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from api.core.registry import Service
from api.targets.rules import INSTALLATION, Block, Rule, kind_of
from api.targets.service import BlockedTargets
from tests.redirects.conftest import AppMaker, clicks_of, make_app, visitor

__all__ = ["AppMaker", "clicks_of", "make_app", "visitor"]

BlockAll = Callable[..., None]


def service_of(app: Flask, kind: type[Service]) -> Service:
    """A service of an application."""
    found: Service = app.extensions["signpost.services"][kind]
    return found


@pytest.fixture
def block_everywhere(app: Flask) -> Iterator[BlockAll]:
    """Makes rules of the installation, which are removed after the test."""
    blocked = service_of(app, BlockedTargets)
    made: list[Rule] = []

    def block(value: str, status: int = 451, reason: str | None = None) -> None:
        rule = Rule.of(kind_of(value), value, Block(status, reason))
        made.append(rule)
        blocked.add(INSTALLATION, rule)

    yield block
    if made:
        blocked.remove_each(INSTALLATION, made)
        blocked.tell()
