"""What the tests of OAuth share."""

from __future__ import annotations

import pytest
from flask import Flask

from api.core.registry import service
from api.oauth.keyfile import Keys
from api.oauth.revocations import Revocations
from api.oauth.tokens import Tokens
from tests.caller import Caller
from tests.oauth.programs import Program


@pytest.fixture
def tokens(app: Flask) -> Tokens:
    """Writes tokens as the application does."""
    with app.app_context():
        return service(Tokens)


@pytest.fixture
def keys(app: Flask) -> Keys:
    """The keys of the application."""
    with app.app_context():
        return service(Keys)


@pytest.fixture
def revocations(app: Flask) -> Revocations:
    """What the application knows to be revoked."""
    with app.app_context():
        return service(Revocations)


@pytest.fixture
def program(caller: Caller) -> Program:
    """A confidential client of the caller's workspace that acts for itself."""
    return Program.registered(caller, grant_types=["client_credentials"])
