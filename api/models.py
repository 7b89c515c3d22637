"""Every table, by lineage: what the migrations are compared with."""

from __future__ import annotations

from sqlalchemy import MetaData

import api.audit.models
import api.clicks.models
import api.core.database.models
import api.core.idempotency
import api.domains.models
import api.identity.models
import api.limits.models
import api.links.models
import api.oauth.models
import api.orphans.models
import api.stats.models
import api.targets.models
import api.titles.models
import api.transfers.erasure.models
import api.transfers.imports.models  # noqa: F401 - imported for their tables
from api.core.database.tables import DirectoryTable, ShardTable

METADATA: dict[str, MetaData] = {
    "directory": DirectoryTable.metadata,
    "shard": ShardTable.metadata,
}
