"""The charts of the site as Vega-Lite specs over the rows of its tables.

Colours and fonts are the page's.
"""

from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name: nothing is fetched
LINE = {
    "symbolType": "stroke",
    "symbolStrokeColor": "gray",
    "symbolStrokeWidth": 2,
    "symbolSize": 400,
}  # a dash is seen
SHARE = {"format": ".1%", "title": None}


def trend(points: str, changes: str) -> dict[str, Any]:
    """A metric over time, a line a model, intervals as bands, and a rule where the environment changed."""
    when = {
        "field": "date",
        "type": "temporal",
        "title": None,
        "axis": {"labelOverlap": True, "tickCount": 8, "grid": False},
    }
    value = {"field": "value", "type": "quantitative", "axis": SHARE, "scale": {"zero": False}}
    band = {"y": {**value, "field": "low"}, "y2": {"field": "high"}}
    return _spec(
        [
            {
                "data": {"name": changes},
                "mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.5, "color": "gray"},
                "encoding": {
                    "x": when,
                    "tooltip": [_field("date"), _field("model"), _field("change")],
                },
            },
            {
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "area", "opacity": 0.18, "line": False},
                "encoding": {"x": when, **band, "color": _model()},
            },
            {
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "rule", "opacity": 0.45},  # a band of one run has no width
                "encoding": {"x": when, **band, "color": _model()},
            },
            {
                "mark": {"type": "line", "point": True},
                "encoding": {"x": when, "y": value, "color": _model(), **_tip("date")},
            },
        ],
        points,
        height=300,
    )


def curve(points: str) -> dict[str, Any]:
    """A metric against the dimension, a line a model and precision, intervals as bars."""
    x = {
        "field": "dim",
        "type": "ordinal",
        "title": "dimension",
        "axis": {"labelAngle": 0, "labelOverlap": True},
    }
    x |= {"scale": {"type": "point", "padding": 0.3}}
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
    return _spec(
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
    )


def heat_map(points: str) -> dict[str, Any]:
    """Language by model, the value as colour and in figures; the scale is always 0 to 100%."""
    axes = {
        "x": {
            "field": "model",
            "type": "nominal",
            "title": None,
            "axis": {"orient": "top", "labelAngle": 0, "labelLimit": 140},
        },
        "y": {"field": "subset", "type": "nominal", "title": None, "sort": None},
    }
    scale = {"scheme": "blues", "domain": [0, 1]}
    colour = {"field": "value", "type": "quantitative", "scale": scale, "legend": None}
    dark = {"test": "datum.value > 0.72", "value": "white"}
    return _spec(
        [
            {"mark": {"type": "rect"}, "encoding": {**axes, "color": colour, **_tip("subset")}},
            {
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {
                    **axes,
                    "text": {"field": "value", "type": "quantitative", "format": ".1%"},
                    "color": {"condition": dark, "value": "black"},
                },
            },
        ],
        points,
        height={"step": 24},
    )


def forest(differences: str) -> dict[str, Any]:
    """Differences with their intervals, a row a cell, and a line at no difference."""
    y = {
        "field": "cell",
        "type": "nominal",
        "title": None,
        "sort": None,
        "axis": {"labelLimit": 150},
    }
    value = {
        "field": "difference",
        "type": "quantitative",
        "title": "difference, B − A",
        "axis": {"format": "+.1%"},
        "scale": {"padding": 12},
    }
    return _spec(
        [
            {
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": "gray"},
                "encoding": {"x": {"datum": 0}},
            },
            {
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"y": y, "x": {**value, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": value,
                    "tooltip": [_field("cell"), _field("difference", "+.2%"), _field("p", ".3f")],
                },
            },
        ],
        differences,
        height={"step": 22},
    )


def _spec(layer: list[dict[str, Any]], name: str, height: Any) -> dict[str, Any]:
    size = {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
    }
    return {"$schema": SCHEMA, **size, "data": {"name": name}, "layer": layer}


def _model() -> dict[str, Any]:
    return {"field": "model", "type": "nominal", "title": None}


def _tip(*names: str) -> dict[str, Any]:
    ends = [_field(name, ".1%") for name in ("value", "low", "high")]
    return {"tooltip": [_field("model"), *map(_field, names), *ends]}


def _field(name: str, style: str | None = None) -> dict[str, Any]:
    kind = {"date": "temporal"}.get(name, "nominal")
    found = {"field": name, "type": "quantitative" if style else kind, "title": name}
    return found | (
        {"format": style} if style else {"format": "%Y-%m-%d %H:%M"} if name == "date" else {}
    )
