"""What the tests of OAuth share."""

from __future__ import annotations

import pytest
from flask import Flask

from api.core.registry import service
from api.oauth.keyfile import Keys
from api.oauth.revocations import Revocations
from api.oauth.tokens import Tokens
from tests.caller import Caller
from tests.oauth.people import Person
from tests.oauth.programs import CALLBACK, Program


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


@pytest.fixture
def app_client(caller: Caller) -> Program:
    """A confidential client that acts for people."""
    return Program.registered(
        caller, grant_types=["authorization_code", "refresh_token"], redirect_uris=[CALLBACK]
    )


@pytest.fixture
def public_client(caller: Caller) -> Program:
    """A client that can keep no secret."""
    return Program.registered(
        caller,
        client_type="public",
        grant_types=["authorization_code", "refresh_token"],
        redirect_uris=[CALLBACK],
    )


@pytest.fixture
def person(caller: Caller) -> Person:
    """An editor of the caller's workspace."""
    return Person.of(caller.with_role("editor"))
