"""Errors that a client may see. A service raises them; one handler makes problem JSON of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

PROBLEM_TYPE = "urn:signpost:problem:"


class DomainError(Exception):
    """A fact that stops a request: the status, a stable code, a title and what may be told.

    `detail` and `extra` are sent to the client, so they hold nothing that it may not know.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "Bad request"

    def __init__(
        self, detail: str = "", *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def facts(self) -> dict[str, Any]:
        """The problem that it is, as it is kept: without the request that met it."""
        told = {"detail": self.detail} if self.detail else {}
        place = {"type": PROBLEM_TYPE + self.code, "title": self.title, "status": self.status}
        return place | told | self.extra


class Invalid(DomainError):
    """The payload is well-formed but breaks a rule; `errors` names the fields."""

    status = 422
    code = "validation-failed"
    title = "The request does not validate"

    def __init__(self, errors: Sequence[Mapping[str, str]], detail: str = "") -> None:
        super().__init__(detail or _summary(errors), errors=[dict(error) for error in errors])

    @classmethod
    def field(cls, pointer: str, detail: str) -> Invalid:
        """One wrong field of the body, named by its JSON pointer."""
        return cls([{"pointer": pointer, "detail": detail}])

    def below(self, place: str) -> Invalid:
        """The same, of a part of the body: `place` is the pointer to that part."""
        pointed = [
            error | {"pointer": place + error["pointer"]} if "pointer" in error else error
            for error in self.extra["errors"]
        ]
        return Invalid(pointed)

    @classmethod
    def parameter(cls, name: str, detail: str) -> Invalid:
        """One wrong parameter of the query."""
        return cls([{"parameter": name, "detail": detail}])


def _summary(errors: Sequence[Mapping[str, str]]) -> str:
    first = errors[0]
    place = first.get("pointer") or first.get("parameter") or first.get("header") or "the body"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {first['detail']}{more}"


class BadRequest(DomainError):
    """The request cannot be read."""


class UnsupportedMediaType(DomainError):
    """The body is not of a type that the route reads."""

    status = 415
    code = "unsupported-media-type"
    title = "Unsupported media type"


class Unauthenticated(DomainError):
    """No credential, or one that is not valid (RFC 6750 section 3)."""

    status = 401
    code = "unauthenticated"
    title = "A valid credential is needed"

    def __init__(self, detail: str = "", *, error: str | None = None) -> None:
        challenge = 'Bearer realm="signpost"' + (f', error="{error}"' if error else "")
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(DomainError):
    """The credential is valid but does not reach so far."""

    status = 403
    code = "insufficient-scope"
    title = "The credential lacks a scope"

    def __init__(self, scope: str) -> None:
        challenge = f'Bearer realm="signpost", error="insufficient_scope", scope="{scope}"'
        super().__init__(
            f"This call needs the scope {scope}.", headers={"WWW-Authenticate": challenge}
        )


class UserNeeded(DomainError):
    """The credential is one of the workspace itself, behind which there is no user."""

    status = 403
    code = "user-needed"
    title = "Only a user can do this"

    def __init__(self) -> None:
        super().__init__("The credential is the workspace's own: use one that belongs to a user.")


class NotFound(DomainError):
    """There is no such thing, or it belongs to somebody else."""

    status = 404
    code = "not-found"
    title = "Not found"


class Conflict(DomainError):
    """The request contradicts what is there."""

    status = 409
    code = "conflict"
    title = "Conflict"


class PreconditionFailed(DomainError):
    """`If-Match` names another version (RFC 9110 section 13.1.1)."""

    status = 412
    code = "precondition-failed"
    title = "The resource has changed"


class TooManyRequests(DomainError):
    """A limit is reached."""

    status = 429
    code = "too-many-requests"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(retry_after_seconds, 1))})


class Unavailable(DomainError):
    """Something that the answer needs is away; a later try may work."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, detail: str = "", retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})
