"""What Redis holds of databases that are others now."""

from __future__ import annotations

from redis.exceptions import RedisError

from api.core.copies import PREFIX
from api.core.redis_clients import make_redis
from config.settings import Settings

# Links and answers as they were, and how far a write-ahead log had come that is another now.
_FORGOTTEN = (PREFIX, "signpost:answers:", "signpost:positions:")
_AT_ONCE = 500


def forget_redis(settings: Settings) -> bool:
    """Have Redis forget what it holds of links; false where it is away. Without one there is
    nothing to forget."""
    if settings.redis_url is None:
        return True
    client = make_redis(settings.redis_url, settings.redis_timeout_seconds)
    try:
        for prefix in _FORGOTTEN:
            for key in client.scan_iter(match=f"{prefix}*", count=_AT_ONCE):
                client.delete(key)
    except RedisError:
        return False
    finally:
        client.close()
    return True
