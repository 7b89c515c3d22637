"""What a server may tell of itself: the settings that differ between those that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

SCRAPE_TOKEN = "a token of the bench only"  # nosec B105 # noqa: S105
_KEY = "0123456789abcdef0123456789abcdef"  # pragma: allowlist secret
# Every kind of request that is asked, and by which setting of the server.
FAST, FLASK, LIST = "redirect", "flask", "list"
REQUESTS: Mapping[str, Mapping[str, str]] = {
    FAST: {"REDIRECT_FAST_PATH": "true"},
    FLASK: {"REDIRECT_FAST_PATH": "false"},
    LIST: {"REDIRECT_FAST_PATH": "true"},
}
TITLES = {
    FAST: "A redirect, answered before it is parsed",
    FLASK: "A redirect by way of Flask",
    LIST: "A list of 50 links",
}

# The address of whoever is told, and the settings by which it is.
Settings = Callable[[str], Mapping[str, str]]

_SILENT = {
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "WARNING",
    "LOG_REDIRECT_SAMPLE": "0",
    "METRICS_TOKEN": "",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    "SENTRY_DSN": "",
}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One way to tell, and the requests on which it may have a price."""

    name: str
    slug: str  # by which its receivers know it
    settings: Settings
    asked: tuple[str, ...] = (FAST, FLASK, LIST)
    scraped: bool = False
    spans: bool = False  # whether its collector must have got some

    def environ(self, request: str, receiver: str) -> dict[str, str]:
        """The settings of a server, `receiver` being the `host:port` of who is told."""
        return {**_SILENT, **REQUESTS[request], **self.settings(f"{receiver}/{self.slug}")}


def _traced(share: str) -> Settings:
    return lambda receiver: {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver}",
        "OTEL_TRACES_SAMPLER_ARG": share,
    }


def _logged(redirects: str) -> Settings:
    return lambda _: {"LOG_LEVEL": "INFO", "LOG_REDIRECT_SAMPLE": redirects}


def _measured(_: str) -> Mapping[str, str]:
    return {"METRICS_TOKEN": SCRAPE_TOKEN}


def _reported(receiver: str) -> Mapping[str, str]:
    return {"SENTRY_DSN": f"http://{_KEY}@{receiver}/1"}


def _all(receiver: str) -> Mapping[str, str]:
    told = (_logged("0.01"), _measured, _traced("0.01"), _reported)
    return {name: value for each in told for name, value in each(receiver).items()}


# The first is what the others are compared with; the second shows what a difference of nothing
# looks like in the same run.
LAYERS = (
    Layer(name="nothing", slug="nothing", settings=lambda _: {}),
    Layer(name="nothing, once more", slug="again", settings=lambda _: {}),
    Layer(name="logs", slug="logs", settings=_logged("0")),
    Layer(
        name="logs, 1 % of redirects", slug="logs-1", settings=_logged("0.01"), asked=(FAST, FLASK)
    ),
    Layer(name="logs, every redirect", slug="logs-100", settings=_logged("1"), asked=(FAST, FLASK)),
    Layer(name="metrics", slug="metrics", settings=_measured, scraped=True),
    Layer(name="traces, 0 %", slug="traces-0", settings=_traced("0")),
    Layer(name="traces, 1 %", slug="traces-1", settings=_traced("0.01"), spans=True),
    Layer(name="traces, 100 %", slug="traces-100", settings=_traced("1"), spans=True),
    Layer(name="Sentry", slug="sentry", settings=_reported),
    Layer(
        name="all of it, shares of 1 %",
        slug="all",
        settings=_all,
        scraped=True,
        spans=True,
    ),
)
