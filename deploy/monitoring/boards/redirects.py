"""What visitors meet: how often, how fast, and from which copy of a link."""

from __future__ import annotations

from typing import Any

from boards.drawing import board, figure, graph, heat, quantiles

_RATE = "sum by ({}) (rate(signpost_redirects_total[$__rate_interval]))"
_ALL = "sum(rate(signpost_redirects_total[$__rate_interval]))"


def make() -> Any:
    """Levels, ages and latencies of redirects."""
    return board(
        "redirects",
        "redirects",
        "How often and how fast visitors are answered, and from which copy of the link.",
        {
            "Traffic": [
                figure("Redirects", "A second, now.", _ALL, unit="reqps"),
                figure(
                    "From the process",
                    "Answered from the memory of the worker, before or after the parser.",
                    'sum(rate(signpost_redirects_total{level=~"prepared|process"}'
                    f"[$__rate_interval])) / {_ALL}",
                    unit="percentunit",
                    decimals=1,
                ),
                figure(
                    "p99",
                    "At the server; below 20 ms is promised.",
                    "histogram_quantile(0.99, sum by (le) "
                    "(rate(signpost_redirect_duration_seconds_bucket[$__rate_interval])))",
                    unit="s",
                    steps=((None, "green"), (0.02, "red")),
                ),
                figure(
                    "Missing",
                    "Share of visits of slugs that no link has. A jump is a scanner, or a lost "
                    "domain.",
                    'sum(rate(signpost_redirects_total{level="missing"}[$__rate_interval])) '
                    f"/ {_ALL}",
                    unit="percentunit",
                    decimals=1,
                ),
                figure(
                    "Old copies",
                    "Answered from a copy past its life, as nothing behind it answered.",
                    '(sum(rate(signpost_redirects_total{level="stale"}[$__rate_interval])) '
                    f"or vector(0)) / {_ALL}",
                    unit="percentunit",
                    decimals=1,
                    steps=((None, "green"), (0.001, "orange")),
                ),
                figure(
                    "Failed",
                    "Answered with a 5xx.",
                    "signpost:redirect_errors:ratio_rate5m",
                    unit="percentunit",
                    decimals=3,
                    steps=((None, "green"), (0.0001, "red")),
                ),
                graph(
                    "By level",
                    "Which copy of the link answered: prepared and process are the worker's own, "
                    "then Redis, a replica, the primary; stale is a copy past its life.",
                    {"{{level}}": _RATE.format("level")},
                    unit="reqps",
                    stacked=True,
                ),
                graph(
                    "By status",
                    "3xx are redirects, 404 and 410 links that are not there (any more), 5xx ours.",
                    {"{{status}}": _RATE.format("status")},
                    unit="reqps",
                    stacked=True,
                ),
            ],
            "Latency, at the server": [
                heat(
                    "Spread",
                    "How many redirects took how long.",
                    "signpost_redirect_duration_seconds_bucket",
                ),
                graph(
                    "Quantiles",
                    "Of all redirects; the line is the promise for p99.",
                    quantiles("signpost_redirect_duration_seconds_bucket"),
                    unit="s",
                    limit=0.02,
                ),
                graph(
                    "Slower than 20 ms",
                    "Share of redirects; 1 % may be.",
                    {
                        "5 minutes": "signpost:redirect_slow:ratio_rate5m",
                        "1 hour": "signpost:redirect_slow:ratio_rate1h",
                    },
                    unit="percentunit",
                    limit=0.01,
                ),
                graph(
                    "By host",
                    "p99 of each host: one that stands out lacks a core, or its way to Redis.",
                    {
                        "{{instance}}": "histogram_quantile(0.99, sum by (le, instance) (rate("
                        'signpost_redirect_duration_seconds_bucket{instance=~"$instance"}'
                        "[$__rate_interval])))"
                    },
                    unit="s",
                ),
            ],
            "Copies": [
                heat(
                    "Age of the copy that answered",
                    "Where the process was not before the parser. Changes evict copies at once, so "
                    "age does no harm by itself.",
                    "signpost_target_age_seconds_bucket",
                ),
                graph(
                    "Looked for behind the process",
                    "What caches did not know: this is what the servers behind them are asked.",
                    {
                        "{{level}}": "sum by (level) (rate(signpost_redirects_total"
                        '{level=~"redis|database|replica|missing|stale"}[$__rate_interval]))'
                    },
                    unit="reqps",
                    stacked=True,
                ),
            ],
        },
    )
