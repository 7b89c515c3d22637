"""Says what telling costs: tables for a terminal and for Markdown, and a picture."""

from __future__ import annotations

from collections.abc import Sequence

from bench import chart
from bench.telemetry_cost.layers import TITLES
from bench.telemetry_cost.runs import Comparison, Cost, Spread

_TITLE = "CPU of a request, in microseconds"
_SUBTITLE = "All of a server's own, 32 connections; beside it how much more than with nothing told."


def table(comparison: Comparison) -> list[list[str]]:
    """Rows of text, the header first."""
    header = ["told", "µs of CPU", "more, µs", "share (least to most)"]
    header += ["requests/s", "p99 ms", "spans sent"]
    return [header, *map(_row, comparison.costs)]


def text(comparison: Comparison) -> str:
    """One comparison for a terminal."""
    rows = table(comparison)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"\n{TITLES[comparison.request]}"]
    for name, *values in rows:
        cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return "\n".join(lines + [f"  {complaint}" for complaint in comparison.complaints])


def markdown(found: Sequence[Comparison], place: str) -> str:
    """The section of a document, without its heading."""
    parts = [f"Measured on {place}.", "![CPU of a request by what is told](telemetry.svg)"]
    for comparison in found:
        header, *rows = table(comparison)
        rule = ["---"] + ["---:"] * (len(header) - 1)
        lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
        parts += [f"**{TITLES[comparison.request]}**", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def picture(found: Sequence[Comparison]) -> str:
    """What each costs, as SVG."""
    return chart.draw(_TITLE, _SUBTITLE, list(map(_panel, found)))


def _row(cost: Cost) -> list[str]:
    return [
        cost.layer,
        f"{cost.cpu_us:,.1f}",
        f"{cost.more_us.median:+,.1f}",
        _shown(cost.share),
        f"{cost.requests_per_second:,.0f}",
        f"{cost.p99_ms:,.1f}",
        f"{cost.spans:,}",
    ]


def _shown(share: Spread) -> str:
    return f"{share.median:+.1%} ({share.least:+.1%} to {share.most:+.1%})"


def _panel(comparison: Comparison) -> chart.Panel:
    bars = [
        chart.Bar(
            label=cost.layer,
            value=cost.cpu_us,
            note=f"{cost.share.median:+.1%}" if place else "",
            digits=1,
            colour=chart.OWN if place else chart.OTHER,
        )
        for place, cost in enumerate(comparison.costs)
    ]
    return chart.Panel(title=TITLES[comparison.request], bars=bars)
