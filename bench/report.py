"""Says what was measured: tables for a terminal and for Markdown, and a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from bench import chart, needs
from bench.express import Express
from bench.floors import BareWsgi
from bench.parts import Comparison
from bench.rounds import Figures

_MEGABYTE = 1 << 20
_LINKED = "../{source}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """All comparisons of one run, and what they were made on."""

    machine: dict[str, str]
    comparisons: list[Comparison]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        made = [
            {
                "part": one.part,
                "title": one.title,
                "figures": [figures.as_json() for figures in one.figures],
            }
            for one in self.comparisons
        ]
        return {"machine": self.machine, "comparisons": made, "complaints": self.complaints()}

    def complaints(self) -> list[str]:
        """What makes the whole worthless."""
        return [
            f"{one.title}: {complaint}"
            for one in self.comparisons
            for figures in one.figures
            for complaint in figures.complaints()
        ]

    def heading(self) -> str:
        """One line about the machine."""
        return ", ".join(f"{name} {value}" for name, value in self.machine.items())

    def markdown(self) -> str:
        """The section of a document, without its heading."""
        parts = [f"Measured on {self.heading()}.", "![Requests per second](performance.svg)"]
        for one in self.comparisons:
            header, *rows = table(one, linked=True)
            rule = ["---"] + ["---:"] * (len(header) - 1)
            lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
            parts += [f"**{one.title}**", "\n".join(lines)]
            parts += ["\n".join(f"- {note}" for note in notes(one))]
        return "\n\n".join(part for part in parts if part) + "\n"

    def picture(self) -> str:
        """Requests per second of the comparisons that a reader looks for first, as SVG."""
        panels = [_panel(one) for one in self.comparisons if one.part in ("redirects", "api")]
        cores = f"one core for the server, {self.comparisons[0].figures[0].connections} connections"
        return chart.draw("Requests per second", cores, panels)


def table(comparison: Comparison, *, linked: bool = False) -> list[list[str]]:
    """Rows of text, the header first."""
    express = _named(comparison, Express.name)
    wsgi = _named(comparison, BareWsgi.name)
    header = ["", "requests/s", "p50 ms", "p99 ms", "CPU", "per CPU second", "RSS MB", "PSS MB"]
    header += ["× Express", "per CPU second"] if express else []
    header += ["× bare WSGI"] if wsgi else []
    rows = [header]
    for one in comparison.figures:
        source = _LINKED.format(source=one.source.partition(" ")[0])
        row = [
            f"[{one.name}]({source})" if linked else one.name,
            f"{one.requests_per_second:,.0f}",
            f"{one.p50_ms:,.2f}",
            f"{one.p99_ms:,.2f}",
            f"{one.server_cpu:.0%}",
            f"{one.requests_per_cpu_second:,.0f}",
            f"{one.rss_bytes / _MEGABYTE:,.0f}",
            f"{one.pss_bytes / _MEGABYTE:,.0f}",
        ]
        if express:
            row.append(f"{one.requests_per_second / express.requests_per_second:.2f}")
            row.append(f"{one.requests_per_cpu_second / express.requests_per_cpu_second:.2f}")
        if wsgi:
            row.append(f"{one.requests_per_second / wsgi.requests_per_second:.2f}")
        rows.append(row)
    return rows


def notes(comparison: Comparison) -> list[str]:
    """What must be known beside the numbers: accounts, errors, a machine that was busy."""
    found = []
    for one in comparison.figures:
        if one.counted is not None:
            found.append(_account(one, "clicks" if one.counting_seconds else "links"))
        found += one.warnings()
    errors = sum(sum(one.errors.values()) for one in comparison.figures)
    found.append(f"Errors (sockets, time-outs, statuses): {errors:,}")
    return found


def text(comparison: Comparison) -> str:
    """A comparison for a terminal."""
    rows = table(comparison)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"\n{comparison.title}"]
    for name, *values in rows:
        cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return "\n".join([*lines, *(f"  {note}" for note in notes(comparison))])


def machine(cores: Sequence[int] | frozenset[int]) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "cores": str(len(cores)),
        "of": _processor(),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "gunicorn": version("gunicorn"),
        "gevent": version("gevent"),
        "Flask": version("flask"),
        **needs.versions(),
    }


def _account(one: Figures, things: str) -> str:
    took = f", in {one.counting_seconds:.1f} s after the load" if one.counting_seconds else ""
    more = (one.counted or 0) - one.answered
    cut_off = f" ({more:,} more were asked for when a load ended)" if more else ""
    return f"{one.name}: {one.answered:,} answered, {one.counted:,} {things} counted{cut_off}{took}"


def _named(comparison: Comparison, name: str) -> Figures | None:
    """A contestant's figures, with however many workers."""
    found = [one for one in comparison.figures if one.name.startswith(name)]
    return found[0] if found else None


def _panel(comparison: Comparison) -> chart.Panel:
    express = _named(comparison, Express.name)
    bars = []
    for one in comparison.figures:
        own = one.name.startswith("Signpost")
        ratio = one.requests_per_second / express.requests_per_second if express and own else 0
        note = f"{ratio:.1f} × Express" if ratio else ""
        label = one.name
        bars.append(chart.Bar(label=label, value=one.requests_per_second, note=note, own=own))
    return chart.Panel(title=comparison.title, bars=bars)


def _processor() -> str:
    with open("/proc/cpuinfo") as stream:  # noqa: PTH123
        for line in stream:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
