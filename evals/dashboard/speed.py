"""The page of speed: how near each case of the benchmarks comes to what its device can do, by day and device."""

from collections.abc import Sequence
from typing import Any

from evals.dashboard.charts import SHARE, WHEN, layered, tip_field
from evals.dashboard.parts import Chart, Column, Page, Row, Table
from evals.dashboard.rows import DATE
from evals.dashboard.timings import Timing
from evals.escape import visible

PAGE = "speed"
OUTPUTS = {True: "equal", False: "differ"}  # of all contenders, as the benchmark allows


def speed_pages(timings: Sequence[Timing]) -> list[Page]:
    """The page of speed; none where no results of benchmarks were named."""
    if not timings:
        return []
    columns = (
        Column("device", "Device"),
        Column("timing", "Timing"),
        Column("case", "Case"),
        Column("rate", "Rate"),
        Column("share", "Share, %", "percent"),
        Column("limit", "Of"),
        Column("peer", "Contender"),
        Column("ratio", "Its time over ours", "ratio", digits=2),
        Column("outputs", "Outputs", "chip"),
        Column("commit", "Commit"),
        DATE,
    )
    page = Page(
        PAGE,
        "Speed",
        "How near our code comes to what the device can do. Each limit was measured in the same "
        "process: the rate of matrix products, or the time of the bare product.",
        [
            Table(
                PAGE, "Timings with a limit", columns, [_row(timing) for timing in timings], "None."
            )
        ],
        [
            Chart(
                "shares",
                "Share of the limit over time",
                "The share of its limit that each case reached, by day and device.",
                shares(PAGE),
            )
        ],
        notes=[
            "The contender is what came nearest to ours in the same run: another library, or another "
            "way to the same result. Below 1 it was faster.",
            "`make bench` and `make bench-gpu` write the results, "
            "`python -m evals.dashboard --timings benchmarks/results` shows them.",
        ],
    )
    return [page]


def _row(timing: Timing) -> Row:
    texts = {
        "device": timing.device,
        "timing": timing.benchmark.replace("_", " "),
        "case": timing.case,
        "rate": timing.rate,
        "limit": timing.limit,
        "commit": timing.commit,
        "peer": timing.peer or "",
    }
    return {name: visible(text) for name, text in texts.items()} | {
        "share": timing.share,
        "ratio": timing.ratio,
        "outputs": OUTPUTS[timing.agrees],
        "date": timing.date,
    }


def shares(points: str) -> dict[str, Any]:
    """The shares over time: a line per case in the colour of its device."""
    share = {"field": "share", "type": "quantitative", "axis": SHARE, "scale": {"domain": [0, 1]}}
    encoding = {
        "x": WHEN,
        "y": share,
        "color": {"field": "device", "type": "nominal", "title": None},
        "detail": [{"field": "timing", "type": "nominal"}, {"field": "case", "type": "nominal"}],
    }
    tip = [tip_field(name) for name in ("device", "timing", "case", "rate", "limit")]
    return layered(
        [
            {"mark": {"type": "line", "opacity": 0.5}, "encoding": encoding},
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {**encoding, "tooltip": [*tip, tip_field("share", ".1%")]},
            },
        ],
        points,
        height=300,
    )
