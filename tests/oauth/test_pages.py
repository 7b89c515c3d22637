"""Pages: signing in and out, cookies, forms, and what a browser may do with them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from api.app import create_app
from api.identity.users import UserService
from api.oauth.sessions import Sessions
from config.settings import Settings
from tests.caller import PASSWORD, Caller
from tests.oauth.people import Flow, Form, Person
from tests.oauth.programs import Program


def session_of(person: Person) -> Any:
    return person.browser.get_cookie("signpost_session")


def users(app: Flask) -> UserService:
    found: UserService = app.extensions["signpost.services"][UserService]
    return found


def test_session_cookie_is_for_the_server_alone(person: Person) -> None:
    page = person.open("/oauth/sign-in")
    form = Form(page.text)
    answer = person.browser.post(
        form.action, data=form.fields | {"email": person.email, "password": PASSWORD}
    )
    assert answer.status_code == 303
    (cookie,) = [c for c in answer.headers.getlist("Set-Cookie") if "session" in c]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert "Max-Age=3600" in cookie


def test_under_https_cookies_are_the_hosts_own(
    environ: dict[str, str], tmp_path: Path, person: Person
) -> None:
    home = {"BASE_URL": "https://sign.test", "SIGNPOST_HOME": str(tmp_path)}
    app = create_app(Settings.load(environ | home))
    browser = app.test_client()
    page = browser.get("/oauth/sign-in", base_url="https://sign.test")
    form = Form(page.text)
    answer = browser.post(
        form.action,
        data=form.fields | {"email": person.email, "password": PASSWORD},
        base_url="https://sign.test",
    )
    assert answer.status_code == 303
    for cookie in page.headers.getlist("Set-Cookie") + answer.headers.getlist("Set-Cookie"):
        assert cookie.startswith("__Host-signpost_")
        assert "Secure" in cookie
    app.extensions["signpost"].stop_worker()


def test_pages_run_nothing_and_are_framed_and_kept_by_nobody(
    app_client: Program, person: Person
) -> None:
    flow = Flow(app_client)
    pages = [person.open("/oauth/sign-in"), person.open("/oauth/authorize"), person.sign_in()]
    pages += [person.open(flow.address), person.open("/oauth/device")]
    nonces = set()
    for page in pages:
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "form-action 'self'" in policy
        assert "script-src" not in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Frame-Options"] == "DENY"
        (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
        assert f'<style nonce="{nonce}">' in page.text
        nonces.add(nonce)
        assert "<script" not in page.text
        assert "style=" not in page.text
    assert len(nonces) == len(pages)
    (consent,) = [page for page in pages if "asks for access" in page.text]
    assert (
        "form-action 'self' https://app.example.com;"
        in (consent.headers["Content-Security-Policy"])
    )


@pytest.mark.parametrize("wrong", ["password", "email"])
def test_wrong_sign_in_tells_not_what_is_wrong(wrong: str, person: Person) -> None:
    given = {"email": person.email, "password": PASSWORD} | {wrong: "nobody@example.com"}
    page = person.send(person.open("/oauth/sign-in"), **given)
    assert page.status_code == 403
    assert "The address or the password is wrong" in page.text
    assert "nobody@example.com" not in page.text or wrong == "email"
    assert session_of(person) is None


def test_too_many_tries_wait(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.core.errors import TooManyRequests

    def refuse(self: UserService, email: str, password: str, address: str) -> None:
        raise TooManyRequests("Too many tries.", 40)

    monkeypatch.setattr(UserService, "sign_in", refuse)
    page = person.send(person.open("/oauth/sign-in"), email=person.email, password="x")
    assert page.status_code == 429
    assert page.headers["Retry-After"] == "40"
    assert "Too many tries." in page.text


@pytest.mark.parametrize(
    "onward",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/oauth/authorize\\..\\..//evil.example",
        "javascript:alert(1)",
        "/oauth/authorize/../../x",
        "/api/v1/links",
        "/oauth/authorize?x=\r\nSet-Cookie:a=b",
        "/oauth/authorize?é",
        "http:/oauth/authorize",
        " /oauth/authorize",
        "",
    ],
)
def test_nobody_is_sent_to_another_site(onward: str, person: Person) -> None:
    page = person.browser.get("/oauth/sign-in", query_string={"next": onward})
    assert Form(page.text).fields["next"] == "/oauth/sign-in"
    form = Form(page.text)
    given = {"email": person.email, "password": PASSWORD, "next": onward}
    answer = person.browser.post(form.action, data=form.fields | given)
    assert answer.status_code == 303
    assert answer.location == "/oauth/sign-in"


def test_form_needs_the_token_of_this_browser(person: Person) -> None:
    page = person.open("/oauth/sign-in")
    form = Form(page.text)
    given = form.fields | {"email": person.email, "password": PASSWORD}
    bare = person.app.test_client().post(form.action, data=given)
    assert bare.status_code == 400
    for token in ("", "0" * 64, "é"):
        answer = person.browser.post(form.action, data=given | {"form_token": token})
        assert answer.status_code == 400, token
    assert session_of(person) is None


def test_sign_out_ends_copies_of_the_cookie_too(person: Person) -> None:
    page = person.sign_in()
    assert person.email in page.text
    copy = session_of(person).value
    person.send(page)
    assert session_of(person) is None
    thief = Person(person.app, person.email)
    thief.browser.set_cookie("signpost_session", copy, domain="localhost")
    assert "Sign in" in thief.open("/oauth/device").text


def test_new_password_ends_sessions(caller: Caller) -> None:
    member = caller.with_role("viewer")
    person = Person.of(member)
    person.sign_in()
    assert "Connect a device" in person.open("/oauth/device").text
    users(caller.app).set_password(member.user_id, "another quiet ferry at noon")
    assert "Sign in" in person.open("/oauth/device").text
    person.password = "another quiet ferry at noon"
    assert person.email in person.sign_in().text


def test_disabled_user_is_signed_out(caller: Caller) -> None:
    member = caller.with_role("viewer")
    person = Person.of(member)
    person.sign_in()
    users(caller.app).disable_user(member.user_id)
    assert "Sign in" in person.open("/oauth/device").text


def test_session_ends_after_an_hour(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.sign_in()
    began = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: began + 3_590)
    assert "Connect a device" in person.open("/oauth/device").text
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: began + 3_610)
    assert "Sign in" in person.open("/oauth/device").text


def test_forged_cookie_is_nobodys(person: Person, app: Flask) -> None:
    person.sign_in()
    cookie = session_of(person).value
    sessions: Sessions = app.extensions["signpost.services"][Sessions]
    assert sessions.user_of(cookie) is not None
    for forged in (None, "", "x", cookie[:-1], "A" + cookie[1:], cookie + ".x", "é"):
        assert sessions.user_of(forged) is None


def test_names_are_text_and_no_markup(person: Person, caller: Caller) -> None:
    name = "<script>alert(1)</script>\"'"
    program = Program.registered(
        caller,
        name=name,
        grant_types=["authorization_code"],
        redirect_uris=["https://app.example.com/callback"],
    )
    page = person.sign_in(person.open(Flow(program).address))
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    state = '"><script>alert(1)</script>'
    page = person.open(Flow(program, state=state).address)
    assert "<script" not in page.text


@pytest.mark.parametrize("method", ["get", "post"])
def test_errors_are_told_on_a_page(method: str, person: Person) -> None:
    page = getattr(person.browser, method)("/oauth/authorize")
    assert page.status_code == 400
    assert page.content_type == "text/html; charset=utf-8"
    assert page.headers["X-Request-ID"]
