"""Who is at the browser: the cookie of a person who signed in, and the token of each form."""

from __future__ import annotations

import hmac
import secrets
import time

from itsdangerous import BadData, URLSafeTimedSerializer

from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import NotFound
from api.identity.users import UserService
from api.oauth.lives import SESSION_SECONDS
from api.oauth.revocations import SESSION, Revocations


class Sessions:
    """Sessions are kept by the browser, signed, for an hour. One ends earlier when its person signs
    out, changes the password or is disabled."""

    def __init__(
        self, db: Database, secret: bytes, users: UserService, revocations: Revocations
    ) -> None:
        self._db = db
        self._users = users
        self._revocations = revocations
        self._signer = URLSafeTimedSerializer(secret, salt="oauth-session")
        self._form_key = hmac.digest(secret, b"oauth-form", "sha256")

    def begin(self, user: AnyRow) -> str:
        """The cookie of somebody who has just proved who they are."""
        # The serializer's own time has no fractions, and a password may change in this second.
        content = [str(user.id), secrets.token_urlsafe(16), time.time()]
        return str(self._signer.dumps(content))

    def user_of(self, cookie: str | None) -> AnyRow | None:
        """Whose session it is, if it goes on."""
        content = self._read(cookie)
        if content is None:
            return None
        identifier, name, began = content
        if self._revocations.has(SESSION, name):
            return None
        try:
            user = self._users.get_user(int(identifier))
        except NotFound:
            return None
        signed_out = user.signed_out_at is not None and user.signed_out_at.timestamp() >= began
        return None if user.disabled_at is not None or signed_out else user

    def end(self, cookie: str | None) -> None:
        """Sign out: a copy of the cookie is of no use either."""
        content = self._read(cookie)
        if content is None:
            return
        with self._db.write_directory() as session:
            row = self._revocations.revoke(session, SESSION, content[1])
        self._revocations.tell([row])

    def form_token(self, browser: str) -> str:
        """What a form that this browser was given sends along; another site cannot know it."""
        return hmac.digest(self._form_key, browser.encode(), "sha256").hex()

    def is_form_token(self, browser: str | None, token: str) -> bool:
        """Whether this browser was given a form with this token."""
        if not browser:
            return False
        return hmac.compare_digest(self.form_token(browser).encode(), token.encode())

    def _read(self, cookie: str | None) -> tuple[str, str, float] | None:
        try:
            identifier, name, began = self._signer.loads(cookie or "", max_age=SESSION_SECONDS)
        except BadData:
            return None
        return identifier, name, began
