"""The rules of a visit: which link it is for, whether it may pass, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

from api.clicks.records import ORPHAN_GONE, ORPHAN_INACTIVE, ORPHAN_UNKNOWN
from api.core.database.routing import Database
from api.core.errors import DomainError, NotFound
from api.core.limits import AddressLimits
from api.core.passwords import password_matches
from api.core.safe_url import with_query
from api.core.slugs import may_be_slug
from api.redirects import store
from api.redirects.cache import Target, TargetCache
from api.redirects.levels import MISSING, NOWHERE, TargetLevels
from api.redirects.shared import SharedTargets


class LinkUnknown(NotFound):
    """No link answers here, or not yet, or not at present."""

    code = "link-unknown"
    title = "There is no such link"
    orphan_kind: ClassVar[int] = ORPHAN_UNKNOWN

    def __init__(self, workspace_id: int | None = None) -> None:
        """`workspace_id` is of the link, where there is one; the visitor is not told."""
        super().__init__()
        self.workspace_id = workspace_id


class LinkInactive(LinkUnknown):
    """The link is disabled or has not started; a visitor cannot tell it from none."""

    orphan_kind = ORPHAN_INACTIVE


class LinkGone(DomainError):
    """The link existed: it has expired, is used up or was deleted."""

    status = 410
    code = "link-gone"
    title = "This link is no longer available"
    orphan_kind: ClassVar[int] = ORPHAN_GONE

    def __init__(self, workspace_id: int) -> None:
        super().__init__()
        self.workspace_id = workspace_id


class LinkBlocked(DomainError):
    """The link leads where no link may lead (RFC 7725)."""

    status = 451
    code = "link-blocked"
    title = "This link is blocked"
    # There is a link, but it does not lead anywhere any more.
    orphan_kind: ClassVar[int] = ORPHAN_GONE

    def __init__(self, workspace_id: int, reason: str | None) -> None:
        super().__init__(reason or "")
        self.workspace_id = workspace_id


class LinkWithdrawn(LinkBlocked):
    """The same, where the rule says that the link shall be gone."""

    status = 410
    code = "link-withdrawn"
    title = LinkGone.title


class PasswordRequired(DomainError):
    """The link asks for a password, and none was sent."""

    status = 403
    code = "password-required"
    title = "This link needs a password"


class PasswordWrong(PasswordRequired):
    """The password is not the link's."""

    code = "password-wrong"
    title = "The password is wrong"


class RedirectService:
    """Follows links."""

    def __init__(
        self,
        db: Database,
        cache: TargetCache,
        shared: SharedTargets | None,
        limits: AddressLimits,
    ) -> None:
        """`shared` is what processes share through Redis, None without it."""
        self._db = db
        self._cache = cache
        self._levels = TargetLevels(db, cache, shared)
        self._limits = limits

    def open(
        self,
        domain: str,
        slug: str,
        owner: int | None,
        tell_level: Callable[[str, float | None], None],
    ) -> Target:
        """The link at `domain/slug`, which exists and is in its period.

        `owner` is the workspace that holds the domain now, None on the default domain: links that
        an earlier holder made there do not answer. `tell_level` is told where the link was found,
        and how old that copy is, also where it cannot be followed.

        Raises:
            LinkUnknown, LinkInactive, LinkGone, LinkBlocked: it cannot be followed.
            Unavailable: nothing that knows the link answers.
        """
        found = self._levels.find(f"{domain}/{slug}") if may_be_slug(slug) else NOWHERE
        target = found.target
        if target is None or (owner is not None and target.workspace_id != owner):
            tell_level(MISSING, None)
            raise LinkUnknown
        tell_level(found.level, found.age_seconds)
        now = datetime.now(UTC)
        if target.deleted:
            raise LinkGone(target.workspace_id)
        if not target.enabled or (target.starts_at is not None and target.starts_at > now):
            raise LinkInactive(target.workspace_id)
        if target.expires_at is not None and target.expires_at <= now:
            raise LinkGone(target.workspace_id)
        if target.block is not None:
            blocked = LinkWithdrawn if target.block.status == 410 else LinkBlocked
            raise blocked(target.workspace_id, target.block.reason)
        return target

    def refresh_soon(self, key: str) -> None:
        """Have `domain/slug`, whose cached entry is about to end, read again in the background.

        Returns at once; does nothing while it is being read.
        """
        self._levels.refresh_soon(key)

    def check_password(self, target: Target, password: str | None, address: str) -> None:
        """Let pass who knows the password of a protected link.

        Raises:
            PasswordRequired: none was sent.
            PasswordWrong: it is another.
            TooManyRequests: this address has tried too often.
        """
        if target.password_hash is None:
            return
        if password is None:
            raise PasswordRequired
        self._limits.hit("link-password", address, str(target.id))
        if not password_matches(target.password_hash, password):
            raise PasswordWrong

    def note_miss(self, address: str) -> None:
        """Count that `address` asked for a link that is not there: who tries out slugs is slowed
        down. Nobody whom a link answers is ever counted.

        Raises:
            TooManyRequests: it does so too often.
        """
        self._limits.hit("miss", address)

    def pass_through(self, target: Target, query: str) -> str:
        """Where the visitor goes; takes one use of a link that has a limit.

        Raises:
            LinkGone: the link is used up.
            Unavailable: the uses cannot be counted now, so none is given.
        """
        if target.limited:
            with self._db.write(target.slot) as session:
                granted = store.update_uses(session, target.slot, target.id)
            if not granted:
                raise LinkGone(target.workspace_id)
        return with_query(target.url, query) if target.forward_query else target.url
