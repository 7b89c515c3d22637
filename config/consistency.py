"""What the type of one setting cannot say: which of them go together."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from config.declaring import SettingsError
from config.groups.databases import DatabaseSettings
from config.groups.server import SERVICES, ServerSettings
from config.groups.transfers import TransferSettings
from config.plans import by_name
from config.redis_urls import is_cluster, unverified

_NO_OPENTELEMETRY = (
    "Traces need packages that are not installed: pip install -r requirements/tracing.txt"
)


def checked(values: dict[str, Any]) -> dict[str, Any]:
    """Settle what one field's type cannot say."""
    shards = [name for name, _ in values.get("shard_urls", ())]
    if "main" in shards:
        raise SettingsError("SHARD_URLS: The shard `main` is at DATABASE_URL.")
    if len(set(shards)) < len(shards):
        raise SettingsError("SHARD_URLS: A shard is named twice.")
    services = values.get("signpost_services", SERVICES)
    if services in ((), ("all",)):
        services = SERVICES
    unknown = sorted(set(services) - set(SERVICES))
    if unknown:
        raise SettingsError(f"SIGNPOST_SERVICES: Unknown service {unknown[0]!r}.")
    values["signpost_services"] = tuple(services)
    if values.get("oidc_issuer") and not values.get("oidc_audience"):
        raise SettingsError("OIDC_AUDIENCE: Needed with OIDC_ISSUER.")
    jobs_in_redis = values.get("fetch_titles") and not values.get("amqp_url")
    if jobs_in_redis and is_cluster(values.get("redis_url")):
        raise SettingsError("FETCH_TITLES: Jobs cannot wait in a Redis Cluster: set AMQP_URL, too.")
    if values.get("force_https") and not values.get("trusted_proxies"):
        raise SettingsError("FORCE_HTTPS: Only TRUSTED_PROXIES can tell who came over http.")
    if values.get("redis_url") and not values.get("redis_tls_verify", True):
        values["redis_url"] = unverified(values["redis_url"])
    low = values.get("autoscale_min_workers", ServerSettings.autoscale_min_workers)
    if low > values.setdefault(
        "autoscale_max_workers", max(low, ServerSettings.autoscale_max_workers)
    ):
        raise SettingsError("AUTOSCALE_MAX_WORKERS: Must not be less than AUTOSCALE_MIN_WORKERS.")
    if values.get("tls_key") and not values.get("tls_certificate"):
        raise SettingsError("TLS_KEY: There is no TLS_CERTIFICATE that it belongs to.")
    if values.get("otel_exporter_otlp_endpoint") and not find_spec("opentelemetry"):
        raise SettingsError(f"OTEL_EXPORTER_OTLP_ENDPOINT: {_NO_OPENTELEMETRY}")
    _settle_exports(values)
    names = by_name(values.get("plans", ()))
    if values.get("default_plan", "standard") not in names:
        raise SettingsError(f"DEFAULT_PLAN: No such plan; there are: {', '.join(names)}.")
    home = Path(values.get("signpost_home", "var"))
    values["signpost_home"] = home.expanduser().resolve()
    return values


def _settle_exports(values: dict[str, Any]) -> None:
    """Leave connections to others."""
    pool = sum(
        values.get(name, getattr(DatabaseSettings, name))
        for name in ("db_pool_size", "db_max_overflow")
    )
    # With a small pool, fewer than the default.
    fewest = max(pool - 1, 1)
    if values.setdefault("export_streams", min(TransferSettings.export_streams, fewest)) > fewest:
        raise SettingsError(f"EXPORT_STREAMS: Must be less than the {pool} connections of a pool.")
