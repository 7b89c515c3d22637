"""What a new installation needs before anybody can call it."""

from __future__ import annotations

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.events import Thing
from api.identity.service import IdentityService
from config.settings import Settings

FIRST_WORKSPACE = "Default"
FIRST_KEY = "First key"


def bootstrap(settings: Settings) -> str | None:
    """Make the first workspace and an API key with every scope, unless there is a workspace.

    Returns the key's text when it was made now, otherwise None.
    """
    db = Database(settings)
    try:
        secret = settings.resolved_secret_key()
        identity, audit = IdentityService(db, secret), AuditLog(db, secret)
        if identity.has_workspaces():
            return None
        workspace = identity.create_workspace(FIRST_WORKSPACE)
        key, text = identity.create_key(workspace.id, name=FIRST_KEY)
        for kind, row in (("workspace", workspace), ("key", key)):
            thing = Thing(kind, str(row.id))
            audit.record_operator(f"{kind}.create", workspace.id, thing, name=row.name)
        return text
    finally:
        db.dispose()
