"""The protocol over HTTP: what clients call, without a person."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Blueprint, Response, request

from api.core.answers import json_response
from api.core.errors import DomainError
from api.core.limits import AddressLimits
from api.core.registry import service
from api.core.requests import request_address
from api.oauth.keyfile import Keys
from api.oauth.metadata import metadata
from api.oauth.protocol import Answer, Asked, ProtocolServer
from api.oauth.tokens import Tokens

blueprint = Blueprint("oauth", __name__)

# New keys are published long before they sign, so an old copy does no harm.
_PUBLIC = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}


@blueprint.get("/.well-known/jwks.json")
def jwks() -> Response:
    """The keys by which anybody can judge our tokens (RFC 7517)"""
    keys = service(Keys).ring().published(time.time())
    return json_response({"keys": keys}, 200, _PUBLIC)


@blueprint.get("/.well-known/oauth-authorization-server")
def server_metadata() -> Response:
    """What the server offers (RFC 8414)"""
    return json_response(metadata(service(Tokens).issuer), 200, _PUBLIC)


@blueprint.post("/oauth/token")
def token() -> Response:
    """Give a client a token (RFC 6749 section 3.2)"""
    return protocol_response(lambda server: server.answer_token(asked_by_form()), limited=True)


@blueprint.post("/oauth/device_authorization")
def begin_device() -> Response:
    """Give a device a code for its person (RFC 8628)"""
    return protocol_response(
        lambda server: server.answer_endpoint("device_authorization", asked_by_form()),
        limited=True,
    )


@blueprint.post("/oauth/revoke")
def revoke() -> Response:
    """End a token before its time (RFC 7009)"""
    return protocol_response(lambda server: server.answer_endpoint("revocation", asked_by_form()))


@blueprint.post("/oauth/introspect")
def introspect() -> Response:
    """Tell a client what a token is good for (RFC 7662)"""
    return protocol_response(
        lambda server: server.answer_endpoint("introspection", asked_by_form())
    )


def asked_by_form() -> Asked:
    """The request, with the parameters of its form (RFC 6749 section 3.2)."""
    parameters = tuple(request.form.items(multi=True))
    return Asked(request.method, request.path, dict(request.headers), parameters)


def protocol_response(
    ask: Callable[[ProtocolServer], Answer], *, limited: bool = False
) -> Response:
    """What the server answers, as JSON that nobody keeps (RFC 6749 section 5); `limited` to
    addresses that do not ask too often."""
    try:
        if limited:
            service(AddressLimits).hit("token", request_address())
        answer = ask(service(ProtocolServer))
    except DomainError as error:
        answer = Answer(error.status, {"error": "temporarily_unavailable"}, error.headers)
    answer.headers |= {"Cache-Control": "no-store", "Pragma": "no-cache"}
    answer.headers.pop("Content-Type", None)
    return json_response(answer.body, answer.status, answer.headers)
