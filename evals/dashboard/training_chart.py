"""The curve of a watched training run: what each checkpoint scores, against the baseline's own value."""

from typing import Any

from evals.dashboard.charts import SHARE, ZOOMED, layered, tip_field
from evals.watch.training_runs import FELL

# One row of no fields: a mark of a constant drawn from the rows would be drawn once per row.
ONCE: dict[str, Any] = {"data": {"values": [{}]}}
# The colour of this style is the page's (static/app.js).
STYLE_OF_A_FALL = "fell"


def training_curve(points: str, metric: str, baseline: float, floor: float) -> dict[str, Any]:
    """A metric against the step: intervals of the change, the baseline, its floor, and the falls.

    `points` names the data; its rows have `step`, `tested` (the metric), `value`, `change` with
    `low` and `high`, `verdict` and `p`. `baseline` is the baseline's value and `floor` the drop up
    to which nobody minds, both shares.
    """
    step = {
        "field": "step",
        "type": "quantitative",
        "title": "training step",
        "scale": {"zero": False, "nice": False, "padding": 14},
        "axis": {
            "format": ",d",
            "labelOverlap": True,
            "grid": False,
            "tickCount": 8,
            "tickMinStep": 1,
        },
    }
    value = {"field": "value", "type": "quantitative", "axis": SHARE, "scale": {"zero": False}}
    # A predicate of fields, and no expression: the name of a metric is text that a file holds.
    of_metric = {"filter": {"field": "tested", "equal": metric}}
    fallen = {"filter": {"field": "verdict", "equal": FELL}}
    ends = [
        {"calculate": "datum.value - datum.change + datum.low", "as": "from"},
        {"calculate": "datum.value - datum.change + datum.high", "as": "to"},
    ]
    tip = [
        tip_field("step", ",d"),
        tip_field("value", ".2%"),
        tip_field("points", "+.2f"),
        tip_field("p", ".2~e"),
        tip_field("verdict"),
    ]
    layers: list[dict[str, Any]] = [
        *_baseline(baseline, floor),
        {
            "transform": [of_metric, {"filter": "datum.low != null"}, *ends],
            "mark": {"type": "rule", "opacity": 0.6},
            "encoding": {"x": step, "y": {**value, "field": "from"}, "y2": {"field": "to"}},
        },
        {
            "transform": [of_metric],
            "mark": {"type": "line"},
            "encoding": {"x": step, "y": value},
        },
        {
            "transform": [of_metric, {"calculate": "100 * datum.change", "as": "points"}],
            "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
            "encoding": {"x": step, "y": value, "tooltip": tip},
        },
        # A shape and a word beside the colour, for those who do not see it.
        {
            "transform": [of_metric, fallen],
            "mark": {
                "type": "point",
                "style": STYLE_OF_A_FALL,
                "shape": "triangle-down",
                "filled": True,
                "size": 170,
                "opacity": 1,
            },
            "encoding": {"x": step, "y": value},
        },
        {
            "transform": [of_metric, fallen],
            "mark": {"type": "text", "style": STYLE_OF_A_FALL, "dy": 18, "fontSize": 12},
            "encoding": {"x": step, "y": value, "text": {"value": FELL}},
        },
    ]
    return layered(layers, points, height=300, title=ZOOMED)


def _baseline(baseline: float, floor: float) -> list[dict[str, Any]]:
    """The rule of the baseline, over a band as deep as the floor."""
    at = {"y": {"datum": baseline, "type": "quantitative"}}
    return [
        {
            **ONCE,
            "mark": {"type": "rect", "opacity": 0.14, "color": "gray"},
            "encoding": {**at, "y2": {"datum": baseline - floor}},
        },
        {
            **ONCE,
            "mark": {"type": "rule", "strokeDash": [4, 4], "color": "gray"},
            "encoding": at,
        },
    ]
