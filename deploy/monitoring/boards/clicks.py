"""The way of a click: spool, queue, consumer, count."""

from __future__ import annotations

from typing import Any

from boards.drawing import board, figure, graph, heat, quantiles


def make() -> Any:
    """From the visit to the count."""
    return board(
        "clicks",
        "clicks",
        "The way of a click, from the spool by the queue and the consumer to its count.",
        {
            "Now": [
                figure(
                    "Recorded, not shipped",
                    "Bytes in the spools of all hosts.",
                    "sum(signpost_spool_bytes)",
                    unit="bytes",
                ),
                figure(
                    "Oldest in a spool",
                    "For how long the oldest sealed segment waits.",
                    "max(signpost_spool_oldest_click_age_seconds)",
                    unit="s",
                    steps=((None, "green"), (10, "orange"), (60, "red")),
                ),
                figure(
                    "In the queue",
                    "Segments that wait for a consumer.",
                    'max(signpost_queue_messages{queue="clicks"})',
                ),
                figure(
                    "Consumers",
                    "Processes that take from the queue.",
                    'max(signpost_queue_consumers{queue="clicks"})',
                    steps=((None, "red"), (1, "green")),
                ),
                figure(
                    "Dead letters",
                    "Segments that cannot be counted as they are: scripts/dead-letters list.",
                    'max(signpost_queue_messages{queue="dead"})',
                    steps=((None, "green"), (1, "red")),
                ),
                figure(
                    "Lost",
                    "Clicks that could not be recorded, in the time shown.",
                    "sum(increase(signpost_clicks_lost_total[$__range]))",
                    steps=((None, "green"), (1, "red")),
                    decimals=0,
                ),
            ],
            "Delay, from the visit to the count": [
                heat(
                    "Spread",
                    "How many clicks were counted how late.",
                    "signpost_click_delay_seconds_bucket",
                ),
                graph(
                    "Quantiles",
                    "The line is the promise for p99.",
                    quantiles("signpost_click_delay_seconds_bucket"),
                    unit="s",
                    limit=10,
                ),
            ],
            "Spool": [
                graph(
                    "Bytes",
                    "What waits on each host, and the bound past which clicks are lost.",
                    {
                        "{{instance}}": 'signpost_spool_bytes{instance=~"$instance"}',
                        "{{instance}} bound": 'signpost_spool_bound_bytes{instance=~"$instance"}',
                    },
                    unit="bytes",
                    width=8,
                ),
                graph(
                    "Age",
                    "For how long the oldest sealed segment waits.",
                    {
                        "{{instance}}": "signpost_spool_oldest_click_age_seconds"
                        '{instance=~"$instance"}'
                    },
                    unit="s",
                    limit=60,
                    width=8,
                ),
                graph(
                    "Segments",
                    "Sent to the broker, confirmed by it, refused by its full queue.",
                    {
                        name: f"sum(rate(signpost_segments_{name}_total[$__rate_interval]))"
                        for name in ("shipped", "confirmed", "refused")
                    },
                    unit="ops",
                    width=8,
                ),
            ],
            "Queue": [
                graph(
                    "Messages",
                    "That wait, by queue.",
                    {"{{queue}}": "max by (queue) (signpost_queue_messages)"},
                    width=8,
                ),
                graph(
                    "Consumers",
                    "That take, by queue. Nobody takes from the dead one.",
                    {"{{queue}}": "max by (queue) (signpost_queue_consumers)"},
                    width=8,
                ),
                graph(
                    "Confirmed within",
                    "From the publication of a segment to the broker's confirmation.",
                    quantiles("signpost_ship_duration_seconds_bucket"),
                    unit="s",
                    width=8,
                ),
            ],
            "Ingest": [
                graph(
                    "Counted",
                    "Clicks and segments a second.",
                    {
                        "clicks": "sum(rate(signpost_ingest_clicks_total[$__rate_interval]))",
                        "segments": "sum(rate(signpost_ingest_segments_total[$__rate_interval]))",
                    },
                    unit="ops",
                ),
                graph(
                    "Behind",
                    "Age of the oldest click of what was counted last, by consumer.",
                    {"{{instance}}": "signpost_ingest_lag_seconds"},
                    unit="s",
                    limit=60,
                ),
                graph(
                    "Clicks in a batch",
                    "Larger under a backlog, as a click costs less then.",
                    quantiles("signpost_ingest_batch_clicks_bucket"),
                    width=8,
                ),
                graph(
                    "Time of a batch",
                    "To prepare it (parse, enrich, fold), and to write it (PostgreSQL).",
                    quantiles("signpost_ingest_duration_seconds_bucket", by="stage"),
                    unit="s",
                    width=8,
                ),
                graph(
                    "Rejected",
                    "Segments that were laid aside as dead letters.",
                    {"segments": "sum(increase(signpost_ingest_rejected_total[$__rate_interval]))"},
                    width=8,
                ),
            ],
        },
    )
