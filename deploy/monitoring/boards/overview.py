"""Is it well? The promises, and what would break them next."""

from __future__ import annotations

from typing import Any

from boards.drawing import board, figure, graph

_GOOD = {
    "answered": '1 - (sum(increase(signpost_redirects_total{status=~"5.."}[$__range])) '
    "or vector(0)) / sum(increase(signpost_redirects_total[$__range]))",
    "fast": 'sum(increase(signpost_redirect_duration_seconds_bucket{le="0.02"}[$__range])) '
    "/ sum(increase(signpost_redirect_duration_seconds_count[$__range]))",
    "soon": 'sum(increase(signpost_click_delay_seconds_bucket{le="10.0"}[$__range])) '
    "/ sum(increase(signpost_click_delay_seconds_count[$__range]))",
}
_BURNING = "How many times as fast as it may the budget of 30 days is used up, over an hour. At 1 "
_BURNING += "it just lasts; 14.4 wakes somebody."


def make() -> Any:
    """The first dashboard to look at."""
    return board(
        "overview",
        "overview",
        "The promises, how much of their budgets is left, traffic, errors and saturation.",
        {
            "Promises, over the time shown (30 days is what they are made for)": [
                _kept("Redirects answered", "Without a 5xx; 99.99 % is promised.", "answered", 4),
                _left("Budget left: answered", "answered", 0.0001),
                _kept("Redirects within 20 ms", "At the server; 99 % is promised.", "fast", 2),
                _left("Budget left: fast", "fast", 0.01),
                _kept("Clicks counted within 10 s", "Of the visit; 99 % is promised.", "soon", 2),
                _left("Budget left: counted soon", "soon", 0.01),
                graph(
                    "Budgets burn",
                    _BURNING,
                    {
                        "answered": "signpost:redirect_errors:ratio_rate1h / 0.0001",
                        "fast": "signpost:redirect_slow:ratio_rate1h / 0.01",
                        "counted soon": "signpost:clicks_late:ratio_rate1h / 0.01",
                    },
                    limit=14.4,
                ),
                graph(
                    "Alerts that fire",
                    "Each has a section of its name in docs/operations.md.",
                    {
                        "{{alertname}} ({{severity}})": "count by (alertname, severity) "
                        '(ALERTS{alertname=~"Signpost.*", alertstate="firing"})'
                    },
                    stacked=True,
                ),
            ],
            "Traffic": [
                graph(
                    "Redirects",
                    "Answers to visitors a second, by status.",
                    {
                        "{{status}}": "sum by (status) "
                        "(rate(signpost_redirects_total[$__rate_interval]))"
                    },
                    unit="reqps",
                    stacked=True,
                    width=8,
                ),
                graph(
                    "Calls of the API",
                    "Everything that is no redirect, by status.",
                    {
                        "{{status}}": "sum by (status) "
                        "(rate(signpost_requests_total[$__rate_interval]))"
                    },
                    unit="reqps",
                    stacked=True,
                    width=8,
                ),
                graph(
                    "Clicks counted",
                    "Committed by the consumers, a second. Over a while as many as redirects.",
                    {"clicks": "sum(rate(signpost_ingest_clicks_total[$__rate_interval]))"},
                    unit="cps",
                    width=8,
                ),
            ],
            "Errors": [
                graph(
                    "Share that fails",
                    "Answers with a 5xx.",
                    {
                        "redirects": "signpost:redirect_errors:ratio_rate5m",
                        "API": '(sum(rate(signpost_requests_total{status=~"5.."}'
                        "[$__rate_interval])) or vector(0)) "
                        "/ sum(rate(signpost_requests_total[$__rate_interval]))",
                    },
                    unit="percentunit",
                    width=8,
                ),
                graph(
                    "Clicks lost",
                    "Redirects that were answered and whose click could not be recorded.",
                    {"{{instance}}": "increase(signpost_clicks_lost_total[$__rate_interval])"},
                    width=8,
                ),
                graph(
                    "Lines in the log",
                    "Of WARNING and above.",
                    {
                        "{{level}}": "sum by (level) "
                        "(increase(signpost_log_lines_total[$__rate_interval]))"
                    },
                    stacked=True,
                    width=8,
                ),
            ],
            "Saturation": [
                graph(
                    "Load",
                    "Work for the workers there are: 1 is as it should be, 2 wants twice as many.",
                    {"{{instance}}": "signpost_load"},
                    limit=1.5,
                    width=6,
                ),
                graph(
                    "Spool",
                    "How much of SPOOL_MAX_BYTES waits. At its end clicks are lost.",
                    {"{{instance}}": "signpost_spool_bytes / signpost_spool_bound_bytes"},
                    unit="percentunit",
                    limit=0.5,
                    width=6,
                ),
                graph(
                    "Queues",
                    "Messages that wait for a consumer.",
                    {"{{queue}}": "max by (queue) (signpost_queue_messages)"},
                    width=6,
                ),
                graph(
                    "Waiting for a connection",
                    "Requests that wait for one of the pool of a database.",
                    {"{{database}}": "sum by (database) (signpost_db_pool_waiting)"},
                    width=6,
                ),
            ],
        },
    )


def _kept(title: str, description: str, which: str, decimals: int) -> Any:
    promised = 0.9999 if which == "answered" else 0.99
    return figure(
        title,
        description,
        _GOOD[which],
        unit="percentunit",
        decimals=decimals,
        steps=((None, "red"), (promised, "green")),
    )


def _left(title: str, which: str, budget: float) -> Any:
    return figure(
        title,
        "What is left of what may fail. Below nothing the promise is broken.",
        f"1 - (1 - ({_GOOD[which]})) / {budget}",
        unit="percentunit",
        decimals=0,
        steps=((None, "red"), (0, "orange"), (0.25, "green")),
    )
