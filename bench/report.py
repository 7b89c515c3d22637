"""Says what was measured: tables for a terminal and for Markdown, and a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Sized
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import chart, needs
from bench.express import Express
from bench.floors import BareWsgi
from bench.parts import Comparison
from bench.rounds import Figures
from bench.signpost import Signpost

_MEGABYTE = 1 << 20
_BUSY_SHARE = 0.1
_SUBTITLE = (
    "32 connections. Signpost and Express keep and count every click, the others do nothing."
)
_PLACE = ("cores", "processor")


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
        rest = {name: value for name, value in self.machine.items() if name not in _PLACE}
        place = "{cores} cores ({processor})".format(**self.machine)
        return ", ".join([place, *(f"{name} {value}" for name, value in rest.items())])

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
        return chart.draw("Requests per second of one core", _SUBTITLE, panels)


def table(comparison: Comparison, *, linked: bool = False) -> list[list[str]]:
    """Rows of text, the header first."""
    express = _named(comparison, Express.name)
    wsgi = _named(comparison, BareWsgi.name)
    header = ["", "requests/s", "p50 ms", "p99 ms", "CPU", "per CPU second", "RSS MB", "PSS MB"]
    header += ["× Express", "× Express per CPU second"] if express else []
    header += ["× bare WSGI"] if wsgi else []
    rows = [header]
    for one in comparison.figures:
        row = [
            f"[{one.name}](../{one.source})" if linked else one.name,
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
    figures = comparison.figures
    found = [_account(one) for one in figures if one.counted is not None]
    errors = sum(sum(one.errors.values()) for one in figures)
    found.append(f"errors (sockets, time-outs, statuses): {errors:,}")
    busy = [f"{one.name} {one.others_cpu:.0%}" for one in figures if one.others_cpu > _BUSY_SHARE]
    if busy:
        found.append(f"the machine did other things on the servers' cores: {', '.join(busy)}")
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


def machine(cores: Sized) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "cores": str(len(cores)),
        "processor": processor(),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "gunicorn": version("gunicorn"),
        "gevent": version("gevent"),
        "Flask": version("flask"),
        **needs.versions(),
    }


def place() -> str:
    """The machine, in a line."""
    return (
        f"{len(os.sched_getaffinity(0))} cores ({processor()}), load before "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )


def _account(one: Figures) -> str:
    """What was answered and what was counted: clicks by a consumer afterwards, links as rows."""
    things, took = ("clicks", f" in {one.counting_seconds:.1f} s after the load")
    if not one.counting_seconds:
        things, took = "links", ""
    more = (one.counted or 0) - one.answered
    cut_off = f", {more:,} of them asked for when a load was cut off" if more > 0 else ""
    return f"{one.name}: {one.answered:,} answered, {one.counted:,} {things} counted{took}{cut_off}"


def _named(comparison: Comparison, name: str) -> Figures | None:
    """A contestant's figures, with however many workers."""
    found = [one for one in comparison.figures if one.name.startswith(name)]
    return found[0] if found else None


def _panel(comparison: Comparison) -> chart.Panel:
    express = _named(comparison, Express.name)
    bars = []
    for one in comparison.figures:
        note, colour = "", chart.OTHER
        if express and one.name.startswith(Signpost.name):
            note = f"{one.requests_per_second / express.requests_per_second:.1f} × Express"
            colour = chart.OWN if one.name == Signpost.name else chart.OWN_FAINT
        bars.append(
            chart.Bar(label=one.name, value=one.requests_per_second, note=note, colour=colour)
        )
    return chart.Panel(title=comparison.title, bars=bars)


def processor() -> str:
    """What the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
