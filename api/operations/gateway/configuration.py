"""From settings and certificates to the text of nginx's configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.core.errors import PROBLEM_TYPE
from api.core.problems import plain_problem
from api.core.transport import HttpsRequired
from api.operations.gateway.certificates import Certificates, Site
from config.settings import Settings, SettingsError

# First segments of what the API answers; all else is a slug. A test holds this to the routes.
API_SEGMENTS = (".well-known", "api", "docs", "health", "oauth", "status")
# What of it goes on for as long as it takes, in or out; held to what the API says of itself.
API_STREAMS = (
    r"^/api/v1/(?:live$|links/[0-9]+/live$|workspaces/[0-9]+/archive$|(?:imports|exports)(?:/|$))"
)
_STREAM_PAUSE_SECONDS = 60.0
# What nginx refuses or misses itself: when to come again, and what a visitor is told.
_SOON, _LATER = "1", "30"
_ERRORS = {
    400: ("", ""),
    403: ("", "This address is for https only."),
    404: ("", ""),
    405: ("", ""),
    408: ("", ""),
    413: ("", ""),
    414: ("", ""),
    421: ("", "There is no such site here."),
    429: (_SOON, "Please try again in a moment."),
    431: ("", ""),
    500: ("", ""),
    502: (_SOON, "Please try again in a moment."),
    503: (_LATER, "This site is being looked after, and will be back soon."),
    504: (_SOON, "Please try again in a moment."),
}
IDLE_UPSTREAM_SECONDS = 1  # see api/core/worker.py, which waits longer before it closes one


@dataclass(frozen=True, slots=True)
class Answer:
    """What nginx answers by itself to an error."""

    status: int
    title: str
    problem: str
    retry_after: str
    advice: str


class Quoting(Environment):
    """Templates of nginx's language."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            loader=FileSystemLoader(folder),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.filters["quoted"] = quoted


def quoted(value: object) -> str:
    """A text as one parameter of a directive.

    Raises:
        SettingsError: it has what nginx would take for a variable, which cannot be escaped.
    """
    text = str(value)
    if "$" in text or "\n" in text:
        raise SettingsError(f"nginx cannot use the path {text!r}")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def render(
    settings: Settings,
    certificates: Certificates,
    templates: Path,
    drained: Sequence[str] = (),
) -> str:
    """The configuration. Servers that are `drained` get no request.

    Raises:
        SettingsError: there is no such server or certificate, or no server is left.
    """
    redirects = settings.gateway_redirect_servers
    apis = settings.gateway_api_servers or redirects
    unknown = sorted(set(drained) - {*redirects, *apis})
    if unknown:
        raise SettingsError(f"{unknown[0]} is none of the gateway's servers")
    for name, servers in (("redirect", redirects), ("api", apis)):
        if not set(servers) - set(drained):
            raise SettingsError(f"no {name} server would be left")
    names = sum(len(site.names) for site in certificates.sites)
    text = (
        Quoting(templates)
        .get_template("nginx.conf.j2")
        .render(
            settings=settings,
            home=settings.gateway_path,
            upstreams={"redirect": redirects, "api": apis},
            drained=frozenset(drained),
            sites=certificates.sites,
            default_site=_default_site(settings, certificates.sites),
            # nginx warns, and looks slowly, where its table of names is too small.
            names_hash=max(512, 1 << (2 * names).bit_length()),
            api_segments="|".join(map(re.escape, API_SEGMENTS)),
            api_streams=API_STREAMS,
            errors=[_answer(status, *told) for status, told in _ERRORS.items()],
            https_port=""
            if settings.gateway_https_port == 443
            else f":{settings.gateway_https_port}",
            idle_upstream_seconds=IDLE_UPSTREAM_SECONDS,
            # A little more than what the servers themselves allow, whose answers tell more.
            redirect_seconds=_whole(2 * settings.db_statement_timeout_seconds + 5),
            api_seconds=_whole(max(settings.gunicorn_timeout_seconds, 30) + 5),
            live_seconds=_whole(4 * settings.live_heartbeat_seconds),
            client_ms=int(1000 * settings.gateway_client_seconds),
            stream_ms=int(1000 * max(settings.gateway_client_seconds, _STREAM_PAUSE_SECONDS)),
            connect_ms=int(1000 * settings.gateway_connect_seconds),
        )
    )
    return _indented(text)


def _default_site(settings: Settings, sites: Sequence[Site]) -> Site | None:
    wanted = settings.gateway_default_certificate
    if wanted is None:
        return None
    for site in sites:
        if site.folder == wanted:
            return site
    raise SettingsError(f"GATEWAY_DEFAULT_CERTIFICATE: There is no usable certificate {wanted!r}.")


def _answer(status: int, retry_after: str, advice: str) -> Answer:
    told = plain_problem(status)
    if status == HttpsRequired.status:  # the only reason of ours
        told |= {"type": f"{PROBLEM_TYPE}{HttpsRequired.code}", "title": HttpsRequired.title}
    text = json.dumps(told | {"instance": "urn:request:$request_name"}, separators=(",", ":"))
    return Answer(status, told["title"], text, retry_after, advice)


def _indented(text: str) -> str:
    """The same, by the depth of its blocks, and with at most one empty line between others."""
    lines: list[str] = []
    depth = 0
    for line in map(str.strip, text.splitlines()):
        depth -= line == "}"
        if line or (lines and lines[-1] and not lines[-1].endswith("{")):
            if line == "}" and not lines[-1]:
                lines.pop()
            lines.append(f"{'    ' * depth}{line}" if line else "")
        depth += line.endswith("{")
    return "\n".join(lines) + "\n"


def _whole(seconds: float) -> int:
    return int(seconds + 0.999)
