"""How our dashboards look: one data source, rows of panels, the same colours and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableRefresh,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

COLUMNS = 24
# What is looked at: the data source that was chosen above the panels.
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = Any  # the builders of panels have no type in common
# From where on which colour: `(None, "green"), (0.5, "red")`.
Steps = Sequence[tuple[float | None, str]]


def graph(
    title: str,
    description: str,
    queries: dict[str, str],
    *,
    unit: str = "short",
    width: int = 12,
    stacked: bool = False,
    limit: float | None = None,
    most: float | None = None,
) -> Panel:
    """Lines over time; `queries` by the legend of what they answer. `limit` is drawn, too."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(30 if stacked else 8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if limit is not None:
        panel.thresholds(_thresholds([(None, "transparent"), (limit, "red")]))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    return _ask(panel, queries).span(width).height(8)


def figure(
    title: str,
    description: str,
    query: str,
    *,
    unit: str = "short",
    steps: Steps = ((None, "text"),),
    decimals: int | None = None,
    width: int = 4,
) -> Panel:
    """One number, as it is now; its colour says what to think of it."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .no_value("nothing to tell")
        .thresholds(_thresholds(steps))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if decimals is not None:
        panel.decimals(decimals)
    target = prometheus.Dataquery().expr(query).instant().legend_format(title).ref_id("A")
    return panel.with_target(target).span(width).height(4)


def heat(title: str, description: str, buckets: str, *, width: int = 12) -> Panel:
    """How a histogram of seconds, given by the name of its buckets, spreads over time."""
    query = f"sum by (le) (increase({buckets}[$__rate_interval]))"
    target = (
        prometheus.Dataquery()
        .expr(query)
        .format(PromQueryFormat.HEATMAP)
        .legend_format("{{le}}")
        .ref_id("A")
    )
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("s")
        .color(
            heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .with_target(target)
        .span(width)
        .height(8)
    )


def board(name: str, title: str, description: str, rows: dict[str, Sequence[Panel]]) -> Any:
    """A dashboard of rows of panels, from left to right and from above to below."""
    made = (
        dashboard.Dashboard(f"Signpost: {title}")
        .uid(f"signpost-{name}")
        .description(description)
        .tags(["signpost"])
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_instances())
        .link(
            dashboard.DashboardLink("Signpost")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["signpost"])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
    )
    number = y = 0
    for row, panels in rows.items():
        number += 1
        place = GridPos(h=1, w=COLUMNS, x=0, y=y)
        made.with_row(dashboard.Row(row).id(number).grid_pos(place))
        x, y, tallest = 0, y + 1, 0
        for panel in panels:
            number += 1
            size = panel.build().grid_pos
            if x + size.w > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            made.with_panel(panel.id(number).grid_pos(GridPos(h=size.h, w=size.w, x=x, y=y)))
            x, tallest = x + size.w, max(tallest, size.h)
        y += tallest
    return made.build()


def _instances() -> Any:
    return (
        dashboard.QueryVariable("instance")
        .label("Instance")
        .datasource(SOURCE)
        .query('label_values(up{job=~"signpost.*"}, instance)')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .hide(VariableHide.DONT_HIDE)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _ask(panel: Panel, queries: dict[str, str]) -> Panel:
    for number, (legend, query) in enumerate(queries.items()):
        target = prometheus.Dataquery().expr(query).range().legend_format(legend)
        panel.with_target(target.ref_id(chr(ord("A") + number)))
    return panel


def _thresholds(steps: Steps) -> Any:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )


def quantiles(buckets: str, by: str = "") -> dict[str, str]:
    """Half, 95 % and 99 % of a histogram, given by the name of its buckets."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return {
        f"{legend}p{name}": f"histogram_quantile({share}, sum by ({labels}) "
        f"(rate({buckets}[$__rate_interval])))"
        for name, share in {"50": 0.5, "95": 0.95, "99": 0.99}.items()
    }
