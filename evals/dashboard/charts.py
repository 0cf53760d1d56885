"""The charts of the site as Vega-Lite specs over the rows of its tables.

Colours and fonts are the page's, which its script fills in: they follow the reader's light or dark
mode. A spec names its data sets as the tables that it draws.
"""

from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name: nothing is fetched
# Of a legend of dashes: Vega's usual symbol is too short to show one.
LINE = {
    "symbolType": "stroke",
    "symbolStrokeColor": "gray",
    "symbolStrokeWidth": 2,
    "symbolSize": 400,
}
# Without a precision of its own: the axis takes the one at which its ticks differ from each other.
SHARE = {"format": "~%", "title": None}
# 24 hours, of the scale's UTC, with the day: all runs may be of one. Vega would say 07 PM.
CLOCK = {
    "seconds": "%-d %b %H:%M:%S",
    "minutes": "%-d %b %H:%M",
    "hours": "%-d %b %H:%M",
    "day": "%-d %b",
    "date": "%-d %b",
    "week": "%-d %b",
    "month": "%b %Y",
    "quarter": "%b %Y",
    "year": "%Y",
}
# Over a chart whose y axis follows its values.
ZOOMED = {
    "text": {"expr": "domain('y')[0] > 0 ? 'Zoomed: the y axis does not start at 0.' : ''"},
    "anchor": "start",
    "fontWeight": "normal",
    "fontSize": 12,
}
# Columns of a heat map too narrow for names of usual length side by side, in pixels.
NARROW = "bandwidth('x') < 100"
# The time as the tables show it: a temporal field of a tooltip would be in the reader's own zone.
TIME = {
    "calculate": "replace(substring(datum.date, 0, 16), 'T', ' ') + ' UTC'",
    "as": "time",
}
# Rows hold fractions; a difference of two percentages is read in points.
IN_POINTS = [
    {"calculate": "100 * datum.difference", "as": "points"},
    {"calculate": "100 * datum.low", "as": "from"},
    {"calculate": "100 * datum.high", "as": "to"},
]


WHEN = {
    "field": "date",
    "type": "temporal",
    "title": "time of the run (UTC)",
    "scale": {"type": "utc"},
    # Runs come at any time, several a day: labels of all of them would lie on each other.
    "axis": {"labelOverlap": True, "tickCount": 8, "grid": False, "format": CLOCK},
}


def trend(points: str, changes: str) -> dict[str, Any]:
    """A metric over time: a colour per name, a line per model and data with bands, rules where something changed.

    Models of one name, as the checkpoints of every night, are joined by dashes: they are no one model.
    """
    # Not from 0: a change of half a point is what a trend is looked at for.
    value = {"field": "value", "type": "quantitative", "axis": SHARE, "scale": {"zero": False}}
    data = {"field": "data", "type": "nominal"}
    same = [data, {"field": "model", "type": "nominal"}]
    name = {"field": "name", "type": "nominal", "title": None}
    band = {"y": {**value, "field": "low"}, "y2": {"field": "high"}}
    return layered(
        [
            {
                "data": {"name": changes},
                "mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.5, "color": "gray"},
                "encoding": {
                    "x": WHEN,
                    "tooltip": [tip_field("time"), tip_field("model"), tip_field("change")],
                },
                "transform": [TIME],
            },
            {
                # Means over languages have no interval, and get neither band nor bar.
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "area", "opacity": 0.18, "line": False},
                "encoding": {"x": WHEN, **band, "color": name, "detail": same},
            },
            # And a rule at each run: a band of a single run would have no width.
            {
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "rule", "opacity": 0.45},
                "encoding": {"x": WHEN, **band, "color": name, "detail": same},
            },
            {
                "mark": {"type": "line", "strokeDash": [2, 4], "opacity": 0.7},
                "encoding": {"x": WHEN, "y": value, "color": name, "detail": data},
            },
            {
                "transform": [TIME],
                "mark": {"type": "line", "point": True},
                "encoding": {
                    "x": WHEN,
                    "y": value,
                    "color": name,
                    "detail": same,
                    **_tip("time"),
                },
            },
        ],
        points,
        height=300,
        title=ZOOMED,
    )


def curve(points: str) -> dict[str, Any]:
    """A metric against the dimension: a line per model and precision, intervals as bars."""
    # Ordinal: dimensions are halved from step to step, and stand as far apart as on a log axis.
    x = {
        "field": "dim",
        "type": "ordinal",
        "title": "dimension",
        "axis": {"labelAngle": 0, "labelOverlap": True},
        "scale": {"type": "point", "padding": 0.3},
    }
    value = {"field": "value", "type": "quantitative", "axis": SHARE, "scale": {"zero": False}}
    lines = {
        "x": x,
        "color": _model(),
        "strokeDash": {
            "field": "precision",
            "type": "nominal",
            "title": "precision",
            "sort": None,
            "legend": LINE,
        },
    }
    return layered(
        [
            {
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "rule", "opacity": 0.6},
                "encoding": {
                    "x": x,
                    "y": {**value, "field": "low"},
                    "y2": {"field": "high"},
                    "color": _model(),
                },
            },
            {"mark": {"type": "line"}, "encoding": {**lines, "y": value}},
            {
                "mark": {"type": "point", "filled": True, "size": 40, "opacity": 1},
                "encoding": {"x": x, "y": value, "color": _model(), **_tip("dim", "precision")},
            },
        ],
        points,
        height=300,
        title=ZOOMED,
    )


def gallery(points: str) -> dict[str, Any]:
    """A metric against the size of the gallery: a line per metric, dashed by direction."""
    # A crawl has a thousand times the items of a benchmark.
    x = {
        "field": "n_gallery",
        "type": "quantitative",
        "title": "items in the gallery",
        "scale": {"type": "log", "nice": False},
        "axis": {"format": "~s", "labelOverlap": True, "grid": False},
    }
    value = {"field": "value", "type": "quantitative", "axis": SHARE}
    metric = {"field": "metric", "type": "nominal", "title": None, "sort": None}
    detail = [{"field": name, "type": "nominal"} for name in ("direction", "subset", "dim")]
    direction = {"field": "direction", "type": "nominal", "title": "direction", "legend": LINE}
    shown = ("metric", "direction", "subset", "dim", "n_gallery")
    lines = {"x": x, "y": value, "color": metric, "detail": detail}
    tip = [*map(tip_field, shown), *(tip_field(name, ".1%") for name in ("value", "low", "high"))]
    return layered(
        [
            {
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "rule", "opacity": 0.45},
                "encoding": {
                    "x": x,
                    "y": {**value, "field": "low"},
                    "y2": {"field": "high"},
                    "color": metric,
                },
            },
            {"mark": {"type": "line"}, "encoding": {**lines, "strokeDash": direction}},
            {
                "mark": {"type": "point", "filled": True, "size": 40, "opacity": 1},
                "encoding": {**lines, "tooltip": tip},
            },
        ],
        points,
        height=300,
    )


def heat_map(points: str) -> dict[str, Any]:
    """Language by model, the value as colour and in figures; the scale is always 0 to 100%."""
    axes = {
        "x": {
            "field": "model",
            "type": "nominal",
            "title": None,
            # Names that would lie on each other, as on a phone, stand aslant.
            "axis": {
                "orient": "top",
                "labelAngle": {"expr": f"{NARROW} ? -60 : 0"},
                "labelAlign": {"expr": f"{NARROW} ? 'left' : 'center'"},
                "labelLimit": 140,
            },
        },
        "y": {"field": "subset", "type": "nominal", "title": None, "sort": None},
    }
    # Fixed, so that one colour is one value on every benchmark and for every filter.
    scale = {"scheme": "blues", "domain": [0, 1]}
    colour = {"field": "value", "type": "quantitative", "scale": scale, "legend": None}
    # From here on the scheme is so dark that black figures could not be read.
    dark = {"test": "datum.value > 0.72", "value": "white"}
    return layered(
        [
            {"mark": {"type": "rect"}, "encoding": {**axes, "color": colour, **_tip("subset")}},
            {
                # Without the sign, and no figures where a cell has no room for them.
                "transform": [{"calculate": "100 * datum.value", "as": "percent"}],
                "mark": {
                    "type": "text",
                    "fontSize": 11,
                    "opacity": {"expr": "bandwidth('x') < 28 ? 0 : 1"},
                },
                "encoding": {
                    **axes,
                    "text": {"field": "percent", "type": "quantitative", "format": ".1f"},
                    "color": {"condition": dark, "value": "black"},
                },
            },
        ],
        points,
        height={"step": 24},
    )


def forest(differences: str) -> dict[str, Any]:
    """Differences with their intervals, a row per cell, and a line at no difference."""
    y = {
        "field": "cell",
        "type": "nominal",
        "title": None,
        # In the order of the rows: Vega would sort names by the alphabet.
        "sort": None,
        "axis": {"labelLimit": 150},
    }
    value = {
        "field": "points",
        "type": "quantitative",
        "title": "difference, B − A, in points",
        # Few enough that none is left out: of every second one zero may be the missing.
        "axis": {
            "tickCount": {"expr": "max(2, ceil(width / 90))"},
            "labelExpr": "abs(datum.value) < 1e-9 ? '0' : format(datum.value, '+~f')",
        },
        # In pixels, for the ends of intervals and the points on them.
        "scale": {"padding": 12},
    }
    return layered(
        [
            {
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": "gray"},
                "encoding": {"x": {"datum": 0}},
            },
            {
                "transform": [{"filter": "datum.low != null"}, *IN_POINTS],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"y": y, "x": {**value, "field": "from"}, "x2": {"field": "to"}},
            },
            {
                "transform": IN_POINTS,
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": value,
                    "tooltip": [
                        tip_field("cell"),
                        tip_field("points", "+.2f"),
                        tip_field("p", ".3f"),
                    ],
                },
            },
        ],
        differences,
        height={"step": 22},
    )


def layered(
    layer: list[dict[str, Any]], name: str, height: Any, title: Any = None
) -> dict[str, Any]:
    return {
        "title": title,
        "$schema": SCHEMA,
        # The page decides the width; labels are within it, and not cut off.
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"name": name},
        "layer": layer,
    }


def _model() -> dict[str, Any]:
    return {"field": "model", "type": "nominal", "title": None}


def _tip(*names: str) -> dict[str, Any]:
    ends = [tip_field(name, ".1%") for name in ("value", "low", "high")]
    return {"tooltip": [tip_field("model"), *map(tip_field, names), *ends]}


def tip_field(name: str, style: str | None = None) -> dict[str, Any]:
    """A field of a tooltip; `style` is the d3 format of a number."""
    if style:
        return {"field": name, "type": "quantitative", "title": name, "format": style}
    return {"field": name, "type": "nominal", "title": name}
