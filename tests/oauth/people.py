"""A person with a browser that runs no script: it follows links, fills in forms, keeps cookies."""

from __future__ import annotations

import base64
import hashlib
import secrets
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from werkzeug.test import TestResponse

from tests.caller import PASSWORD, Caller
from tests.oauth.programs import CALLBACK, Program


class Form(HTMLParser):
    """The first form of a page with an `answer`, a `user_code` or a `password`, else the first."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.workspaces: list[str] = []
        self.feed(page)
        wanted = {"answer", "user_code", "password"}
        best = [form for form in self.forms if wanted & set(form[1])]
        self.action, self.fields = (best or self.forms)[0]
        self.fields.pop("answer", None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            assert given["method"] == "post"
            self.forms.append((given["action"], {}))
        elif tag in ("input", "button") and given.get("name"):
            if given["name"] == "workspace":
                self.workspaces.append(given["value"])
            if given.get("type") != "radio" or "checked" in given:
                self.forms[-1][1][given["name"]] = given.get("value", "")


class Person:
    """Somebody with an account."""

    def __init__(self, app: Flask, email: str, password: str = PASSWORD) -> None:
        self.app = app
        self.email = email
        self.password = password
        self.browser = app.test_client()

    @classmethod
    def of(cls, caller: Caller) -> Person:
        """The person behind a key."""
        from api.identity.users import UserService

        users: UserService = caller.app.extensions["signpost.services"][UserService]
        return cls(caller.app, users.get_user(caller.user_id).email)

    def open(self, address: str) -> TestResponse:
        """Open an address, and follow redirects that stay here."""
        answer = self.browser.get(address)
        while answer.status_code == 303 and answer.location.startswith("/"):
            answer = self.browser.get(answer.location)
        return answer

    def send(self, page: TestResponse, **fields: str) -> TestResponse:
        """Fill in and send the form of a page, and follow redirects that stay here."""
        form = Form(page.text)
        answer = self.browser.post(form.action, data=form.fields | fields)
        while answer.status_code == 303 and answer.location.startswith("/"):
            answer = self.browser.get(answer.location)
        return answer

    def sign_in(self, page: TestResponse | None = None) -> TestResponse:
        """Sign in, on the page that asks for it."""
        page = page or self.open("/oauth/sign-in")
        assert "Sign in" in page.text
        return self.send(page, email=self.email, password=self.password)


class Flow:
    """One authorization code flow of a program (RFC 6749 section 4.1, RFC 7636)."""

    def __init__(self, program: Program, **changes: Any) -> None:
        self.program = program
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        self.parameters: dict[str, Any] = {
            "response_type": "code",
            "client_id": program.client_id,
            "redirect_uri": CALLBACK,
            "scope": "links:read links:write",
            "state": "the state~!'()*",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | changes
        self.parameters = {name: v for name, v in self.parameters.items() if v is not None}

    @property
    def address(self) -> str:
        return "/oauth/authorize?" + urlencode(self.parameters, doseq=True)

    def answer_of(self, response: TestResponse) -> dict[str, str]:
        """What the browser brings back to the client."""
        assert response.status_code == 303, response.text
        address = urlsplit(response.location)
        assert response.location.startswith(CALLBACK + "?"), response.location
        return {name: values[0] for name, values in parse_qs(address.query).items()}

    def code(self, person: Person, **fields: str) -> str:
        """The code for a consent."""
        page = person.open(self.address)
        if "Sign in" in page.text:
            page = person.sign_in(page)
        fields.setdefault("workspace", Form(page.text).workspaces[0])
        answer = self.answer_of(person.send(page, answer="approve", **fields))
        assert answer["state"] == self.parameters["state"]
        return answer["code"]

    def redeem(self, code: str, /, **changes: Any) -> TestResponse:
        """Ask for tokens."""
        form: dict[str, Any] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.parameters.get("redirect_uri"),
            "code_verifier": self.verifier,
        }
        form = {name: value for name, value in (form | changes).items() if value is not None}
        return self.program.ask(**form)

    def tokens(self, person: Person) -> dict[str, Any]:
        """The tokens of a consent."""
        answer = self.redeem(self.code(person))
        assert answer.status_code == 200, answer.text
        return dict(answer.json or {})
