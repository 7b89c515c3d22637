"""The pages on which people sign in, and let clients and devices act for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, request

from api.core.database.sessions import AnyRow
from api.core.errors import BadRequest, DomainError, NotFound, TooManyRequests
from api.core.principal import ROLES, SCOPES
from api.core.registry import service
from api.core.requests import request_address
from api.identity.members import MemberService
from api.identity.service import IdentityService
from api.identity.users import SignInRefused, UserService
from api.oauth.browser import check_form, cookie_of, go_to, next_of, page, set_cookie
from api.oauth.browser import sign_in_browser as begin_session
from api.oauth.clients import Client
from api.oauth.devices import Devices
from api.oauth.protocol import Answer, Asked, Consent, ProtocolServer
from api.oauth.service import OAuthClients
from api.oauth.sessions import Sessions

blueprint = Blueprint("oauth_pages", __name__, template_folder="templates")

View = Callable[[], Response]


def for_people(view: View) -> View:
    """Tell errors on a page."""

    @wraps(view)
    def shown() -> Response:
        try:
            return view()
        except DomainError as error:
            response = page("message", status=error.status, title=error.title, text=error.detail)
            response.headers.extend(error.headers)
            return response

    return shown


@blueprint.get("/oauth/sign-in")
@for_people
def sign_in_page() -> Response:
    """The form, or for who has signed in a way out"""
    onward, user = next_of(request.args.get("next")), signed_in()
    if user is None:
        return page("sign_in", next=onward)
    return page("account", user=user) if onward == "/oauth/sign-in" else go_to(onward)


@blueprint.post("/oauth/sign-in")
@for_people
def sign_in() -> Response:
    """Begin a session"""
    check_form(request)
    email, onward = request.form.get("email", ""), next_of(request.form.get("next"))
    password = request.form.get("password", "")
    try:
        user = service(UserService).sign_in(email, password, request_address())
    except (SignInRefused, TooManyRequests) as error:
        wrong = error.title if isinstance(error, SignInRefused) else error.detail
        response = page("sign_in", status=error.status, next=onward, email=email[:254], wrong=wrong)
        response.headers.extend(error.headers)
        return response
    response = go_to(onward)
    begin_session(response, service(Sessions).begin(user))
    return response


@blueprint.post("/oauth/sign-out")
@for_people
def sign_out() -> Response:
    """End the session"""
    check_form(request)
    service(Sessions).end(cookie_of("session"))
    response = go_to(next_of(request.form.get("next")))
    set_cookie(response, "session", "", 0)
    return response


@blueprint.get("/oauth/authorize")
@for_people
def authorize_page() -> Response:
    """Ask a person whether a client may act for them (RFC 6749 section 4.1.1)"""
    consent = asked_consent()
    if isinstance(consent, Answer):
        return go_to(str(consent.location))
    user = signed_in()
    if user is None:
        return to_sign_in()
    return consent_page(user, consent.client, consent.scopes, sends_to=consent.redirect_uri)


@blueprint.post("/oauth/authorize")
@for_people
def authorize() -> Response:
    """Send the browser back to the client with what its person said"""
    check_form(request)
    consent = asked_consent()
    if isinstance(consent, Answer):
        return go_to(str(consent.location))
    user = signed_in()
    if user is None:
        return to_sign_in()
    approved = request.form.get("answer") == "approve"
    answer = service(ProtocolServer).answer_consent(
        consent, user if approved else None, chosen_workspace(user) if approved else 0
    )
    return go_to(str(answer.location))


@blueprint.get("/oauth/device")
@for_people
def device_page() -> Response:
    """Ask for the code that a device shows (RFC 8628 section 3.3)"""
    user, code = signed_in(), request.args.get("user_code", "")[:40]
    if user is None:
        return to_sign_in()
    return page("device", user=user, code=code)


@blueprint.post("/oauth/device")
@for_people
def answer_device() -> Response:
    """Find the device, ask, and tell it what its person said"""
    check_form(request)
    user = signed_in()
    if user is None:
        return to_sign_in()
    # Codes are short: nobody tries them by the thousand.
    service(UserService).count_try(request_address())
    devices, code = service(Devices), request.form.get("user_code", "")
    try:
        device = devices.waiting(code)
    except NotFound as error:
        return page("device", status=404, user=user, code=code[:40], wrong=error.detail)
    client = service(OAuthClients).named(device.client_id)
    if client is None:
        raise NotFound("There is no such client any more.")
    match request.form.get("answer"):
        case "approve":
            devices.approve(client, user, chosen_workspace(user), device)
            text = "Go back to your device: it goes on by itself."
            return page("message", title="Your device is connected", text=text)
        case "deny":
            devices.deny(device)
            return page("message", title="Your device was refused", text="It gets no access.")
        case _:
            return consent_page(user, client, frozenset(device.scopes), code=device.user_code)


def signed_in() -> AnyRow | None:
    """Who is at the browser."""
    return service(Sessions).user_of(cookie_of("session"))


def to_sign_in() -> Response:
    """First sign in, then go on with what was asked."""
    asked = request.full_path.rstrip("?")
    return go_to(f"/oauth/sign-in?next={quote(asked, safe='')}")


def asked_consent() -> Consent | Answer:
    """What the query asks a person, or what is to be answered without asking."""
    query = tuple(request.args.items(multi=True))
    asked = Asked(request.method, request.path, {}, query)
    try:
        return service(ProtocolServer).consent_asked(asked)
    except OAuth2Error as error:
        # Nobody is sent to an address that may be a stranger's (RFC 6749 section 4.1.2.1).
        raise BadRequest(error.description or "The request of the client is not valid.") from None


def chosen_workspace(user: AnyRow) -> int:
    """The workspace that was chosen, which must be one of the person's own."""
    chosen = request.form.get("workspace", "")
    for identifier, _, _ in service(MemberService).find_memberships(user.id):
        if str(identifier) == chosen:
            return identifier
    raise BadRequest("Choose one of your workspaces.")


def consent_page(
    user: AnyRow, client: Client, scopes: frozenset[str], *, sends_to: str = "", **values: Any
) -> Response:
    """Which client wants what, and in which workspace it shall have it."""
    workspaces = [
        {"id": identifier, "name": name, "role": role}
        for identifier, name, role in service(MemberService).find_memberships(user.id)
        if scopes & ROLES[role]
    ]
    if not workspaces:
        text = f"In none of your workspaces may you do what {client.name} asks for."
        return page("message", status=403, title="Nothing to give", text=text)
    owner = service(IdentityService).get_workspace(client.workspace_id)
    return page(
        "consent",
        user=user,
        client=client,
        owner=owner.name,
        meanings=[meaning for scope, meaning in SCOPES.items() if scope in scopes],
        workspaces=workspaces,
        returns_to=sends_to.partition("?")[0],
        sends_to=sends_to,
        here=request.full_path.rstrip("?"),
        **values,
    )
