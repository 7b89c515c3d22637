"""Secrets, issuers, proxies, browsers, and who may try how often."""

from __future__ import annotations

from dataclasses import dataclass

from config import kinds
from config.declaring import flag, integer, setting
from config.plans import Plan, read_plans


@dataclass(frozen=True, kw_only=True)
class SecuritySettings:
    """Secrets, issuers, proxies, browsers, and who may try how often."""

    secret_key: str | None = setting(
        None,
        kinds.text(16),
        "Signs cursors and keys the visitor hash, at least 16 characters, the same in every "
        "process; default: made once and kept in `SIGNPOST_HOME/secret.key`.",
    )
    jwt_private_key: str | None = setting(
        None,
        kinds.signing_keys,
        "Private key that signs access tokens: PEM (Ed25519 or RSA), or a JWK set, the same in "
        "every process; default: keys made once and kept in `SIGNPOST_HOME/jwt-keys.json`.",
    )
    jwt_algorithm: str = setting(
        "EdDSA",
        kinds.one_of("EdDSA", "RS256"),
        "What new access tokens are signed with; keys of both are published.",
    )
    oidc_issuer: str | None = setting(
        None,
        kinds.issuer,
        "Issuer of OpenID Connect whose tokens are accepted, too, as `https://accounts.example.com`"
        ": for users whose verified address it knows.",
    )
    oidc_audience: str | None = setting(
        None,
        kinds.text(1),
        "The audience that such tokens must be for; needed with `OIDC_ISSUER`.",
    )
    trusted_proxies: tuple[kinds.Network, ...] = setting(
        (),
        kinds.networks,
        "Addresses or CIDR blocks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` "
        "count.",
    )
    hsts_seconds: int = integer(
        31_536_000,
        "How long browsers that came over https shall use nothing else for this host "
        "(`Strict-Transport-Security`); 0: it is not sent.",
        0,
        63_072_000,
    )
    hsts_include_subdomains: bool = flag(
        False, "The same for every host below it: only where all of them speak https."
    )
    force_https: bool = flag(
        False,
        "Send visitors on to https who came to a trusted proxy over http. Health checks and "
        "metrics are answered as they come.",
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        kinds.origins,
        "Origins whose pages may call the API from a browser, `https://app.example.com,…`, or `*`; "
        "default: none.",
    )
    plans: tuple[Plan, ...] = setting(
        (),
        read_plans,
        'Plans beside `standard` and `unlimited`, as JSON such as `{"free": {"reads_per_minute": '
        '60, "writes_per_minute": 20, "api_calls_per_day": 5000, "links_per_month": 100}}`, or '
        "the path of a file of it; see docs/limits.md.",
    )
    default_plan: str = setting(
        "standard", kinds.text(1), "Plan of a workspace for which none was set."
    )
    password_tries_per_minute: int = integer(
        5, "Passwords per link and address before 429.", 1, 1_000_000
    )
    sign_in_tries_per_minute: int = integer(
        20,
        "Tries to sign in, to accept an invitation or to see `/status`, from one address before "
        "429.",
        1,
        1_000_000,
    )
    sign_in_tries_per_hour: int = integer(
        20, "Tries to sign in to one account, from anywhere, before 429.", 1, 1_000_000
    )
    token_requests_per_minute: int = integer(
        300, "Requests for OAuth tokens per address before 429.", 1, 1_000_000
    )
    misses_per_minute: int = integer(
        300,
        "Slugs that are no link's per address, before further ones answer 429 in place of 404. "
        "Redirects are never limited.",
        1,
        1_000_000,
    )
