"""Queries on the subjects of issuers outside."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from api.core.database.routing import ReadSession, WriteSession
from api.oauth.models import OutsideSubject


def get_user_id(session: ReadSession, issuer: str, subject: str) -> int | None:
    """Whom an issuer means by a subject."""
    statement = select(OutsideSubject.user_id).where(
        OutsideSubject.issuer == issuer, OutsideSubject.subject == subject
    )
    return session.execute(statement).scalar_one_or_none()


def insert_subject(session: WriteSession, issuer: str, subject: str, user: int) -> bool:
    """Remember whom an issuer means; False where the subject or the user has another half."""
    statement = (
        insert(OutsideSubject)
        .values(issuer=issuer, subject=subject, user_id=user)
        .on_conflict_do_nothing()
        .returning(OutsideSubject.user_id)
    )
    if session.execute(statement).first() is not None:
        return True
    # Two first requests at once say the same.
    return get_user_id(session, issuer, subject) == user
