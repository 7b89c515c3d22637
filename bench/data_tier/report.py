"""Says what was measured of the data tier: tables for a terminal and for Markdown, a picture."""

from __future__ import annotations

from collections.abc import Sequence

from bench import chart
from bench.data_tier.runs import Comparison, Figures
from bench.report import place

_PICTURED = ("replicas", "shards", "pools")


def table(comparison: Comparison) -> list[list[str]]:
    """Rows of text, the header first."""
    header = ["", "reads/s", "ratio", "p50 ms", "p99 ms"]
    header += ["CPU of servers, ms per 1,000 reads", "ratio by the busiest"]
    return [header, *(_row(comparison, figures) for figures in comparison.figures)]


def text(found: Sequence[Comparison]) -> str:
    """All for a terminal."""
    lines = []
    for comparison in found:
        rows = table(comparison)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines.append(f"\n{comparison.part}: {comparison.title}")
        for name, *values in rows:
            cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def markdown(found: Sequence[Comparison]) -> str:
    """The section of a document, without its heading."""
    parts = [f"Measured on {place()}.", "![Reads per second](data.svg)"]
    for comparison in found:
        header, *rows = table(comparison)
        rule = ["---"] + ["---:"] * (len(header) - 1)
        lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
        parts += [f"**{comparison.part.capitalize()}: {comparison.title}**", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def picture(found: Sequence[Comparison]) -> str:
    """Reads per second of what can be compared, and the latency of lists, as SVG."""
    panels = [_panel(one) for one in found if one.part in _PICTURED and "no quota" not in one.title]
    panels += [_latency(one) for one in found if one.part == "lists"]
    subtitle = "Private servers on one machine, each with its share of it where that is said."
    return chart.draw("Reads per second", subtitle, panels)


def _row(comparison: Comparison, figures: Figures) -> list[str]:
    return [
        figures.name,
        f"{figures.reads_per_second:,.0f}",
        f"{comparison.ratio(figures):.2f}",
        f"{figures.latency.p50:,.1f}",
        f"{figures.latency.p99:,.1f}",
        " + ".join(f"{each:,.0f}" for each in figures.cpu),
        f"{comparison.busiest(figures):.2f}",
    ]


def _panel(comparison: Comparison) -> chart.Panel:
    bars = [
        chart.Bar(
            label=figures.name,
            value=figures.reads_per_second,
            note=f"× {comparison.ratio(figures):.2f}" if place else "",
            colour=chart.OWN if place else chart.OTHER,
        )
        for place, figures in enumerate(comparison.figures)
    ]
    return chart.Panel(title=comparison.title, bars=bars)


def _latency(comparison: Comparison) -> chart.Panel:
    bars = [
        chart.Bar(
            label=figures.name,
            value=figures.latency.p50 * 1_000,
            note="µs, the median",
            colour=chart.OWN_FAINT,
        )
        for figures in comparison.figures
    ]
    return chart.Panel(title=comparison.title, bars=bars)
