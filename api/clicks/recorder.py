"""What the redirect path calls for each visit that it answers."""

from __future__ import annotations

import time

from api.clicks.records import FLAG_HEAD, FLAG_PREFETCH, ClickRecord
from api.clicks.spool import Spool


class ClickRecorder:
    """Writes visits to the spool of this process."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def record(
        self,
        link_id: int,
        workspace_id: int,
        *,
        address: str,
        user_agent: str = "",
        referrer: str = "",
        language: str = "",
        query: str = "",
        head: bool = False,
        prefetch: bool = False,
    ) -> None:
        """Write one visit; when this returns it will be counted, and may be answered.

        `language` is the Accept-Language header, `query` what follows the question mark, encoded.
        Headers may be text as WSGI gives it, bytes read as Latin-1.

        Raises:
            OSError: the disk refused; the visit is not recorded.
        """
        flags = (FLAG_HEAD if head else 0) | (FLAG_PREFETCH if prefetch else 0)
        now_ms = time.time_ns() // 1_000_000
        self._spool.record(
            ClickRecord(
                now_ms,
                link_id,
                workspace_id,
                address,
                user_agent,
                referrer,
                language,
                query,
                flags,
            )
        )
