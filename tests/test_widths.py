"""Whatever the terminal's width, from 60 to 240 columns, no word is broken and no line is too long."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.analysis.comparison import compare
from evals.analysis.finding import finding
from evals.analysis.planning import plan_pairs
from evals.evaluation.points import points_of
from evals.records.record import read_run
from evals.records.selection import matched, operand
from evals.regress.table import print_verdict
from evals.regress.verdict import Verdict
from evals.stats.sample_size import Design
from evals.views import comparison as compare_views
from evals.views import plan as plan_views
from evals.views.finding import sentence
from evals.views.style import console, empty_table
from evals.views.sweep_table import bars, sweep_table
from evals.views.table import EARLY, OPTIONAL

WIDTHS = (60, 61, 72, 80, 84, 97, 100, 120, 160, 240)
BAR = re.compile("[█▉▊▋▌▍▎▏]+")
# The note of what was left out, which a wide terminal does not have.
NOTE = "Too narrow a terminal for the intervals of kept, intervals; --json has all."
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], str]:
    """What a function prints on a terminal of so many columns, without colours."""

    def shown(width: int, show: Callable[[], None]) -> str:
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(width))
            patch.setattr("sys.stdout", screen)
            show()
        return ANSI.sub("", screen.getvalue())

    return shown


def views(run_path: Path) -> dict[str, Callable[[], None]]:
    """Prints of the tables that people read most, from one record."""
    run = read_run(run_path)
    pairs = matched(operand(str(run_path)), operand(f"{run_path}@64"), run_path)
    changes = compare(pairs)
    title = compare_views.Title.of(pairs)
    answer = sentence(finding(pairs, changes), title.a, title.b)
    design = Design()
    plans = plan_pairs(pairs, [0.01], design)
    sweep_points = points_of(run)
    return {
        "sweep": lambda: console().print(sweep_table("Scenes · tiny", sweep_points)),
        "bars": lambda: console().print(bars(sweep_points, console().width)),
        "compare": lambda: compare_views.print_tables(title, changes, answer),
        "plan": lambda: plan_views.print_plans(plans, design),
        "regress": lambda: print_verdict(Verdict("ci"), console()),
    }


def words_of(text: str) -> set[str]:
    return {word.rstrip(",;.") for word in BAR.sub("", text).split()}


def test_no_word_is_broken_and_no_line_is_longer_than_the_terminal(
    scenes_run: Path, shown_at: Callable[[int, Callable[[], None]], str]
) -> None:
    for name, show in views(scenes_run).items():
        words = words_of(shown_at(2000, show)) | words_of(f"{NOTE} {' '.join(EARLY + OPTIONAL)}")
        for width in WIDTHS:
            for line in shown_at(width, show).splitlines():
                strange = words_of(line) - words
                assert not strange, f"{name} at {width}: {strange}"
                is_path = str(scenes_run.parent) in line
                assert len(line) <= width or is_path, f"{name} at {width}: {line}"


def test_no_line_ends_with_a_space(
    scenes_run: Path, shown_at: Callable[[int, Callable[[], None]], str]
) -> None:
    """Copies and diffs would have it; rich fills the last cell of a row."""
    for name, show in views(scenes_run).items():
        for width in (60, 80, 120, 240):
            lines = shown_at(width, show).splitlines()
            assert [line for line in lines if line != line.rstrip()] == [], (name, width)


def test_wins_and_losses_leave_before_the_interval_of_a_difference(
    scenes_run: Path, shown_at: Callable[[int, Callable[[], None]], str]
) -> None:
    show = views(scenes_run)["compare"]
    text = shown_at(80, show)
    assert "wins/losses" not in text.split("Too narrow")[0]
    assert re.search(r"t2i R@1 .*\[[-+]\d\.\d\d,[-+]\d\.\d\d\]", text)
    assert "Too narrow a terminal for wins/losses; --json has all." in text


def test_a_line_that_ends_at_the_last_column_leaves_no_space_for_the_next(
    shown_at: Callable[[int, Callable[[], None]], str],
) -> None:
    text = "x" * 59 + " " + "y"
    for width in (59, 60, 61):
        lines = shown_at(width, lambda: console().print(text, soft_wrap=True)).splitlines()
        assert " ".join(lines) == text and not any(line.startswith(" ") for line in lines)


def test_of_two_columns_that_wrap_neither_breaks_a_word(
    shown_at: Callable[[int, Callable[[], None]], str],
) -> None:
    def show() -> None:
        table = empty_table("", "")
        for head in ("model", "what", "published"):
            table.add_column(head, no_wrap=head == "published")
        table.add_row("nllb-siglip-large", "Relative to NLLB", "79.2")
        console().print(table)

    for width in (40, 43, 60):
        words = set(shown_at(width, show).split())
        assert {"nllb-siglip-large", "Relative", "to", "NLLB", "published", "79.2"} <= words


def a_table() -> None:
    """71 columns wide, and with each step of the order narrower."""
    table = empty_table("Title", "")
    for head in ("name", "kept", "B - A [95%]", "n", "ties"):
        table.add_column(head, no_wrap=True)
    name = "twenty characters or "
    table.add_row(name, "98.3% [dim]\\[95.5,101.1][/dim]", "+1.00 [-0.50,+2.50]", "1,000", "0.0%")
    console().print(table)


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (71, "98.3% [95.5,101.1] +1.00 [-0.50,+2.50] 1,000 0.0%"),
        (70, "98.3% +1.00 [-0.50,+2.50] 1,000 0.0%"),
        (57, "98.3% +1.00 1,000 0.0%"),
        (42, "98.3% +1.00 1,000"),
    ],
)
def test_a_table_shrinks_in_the_stated_order(
    width: int, row: str, shown_at: Callable[[int, Callable[[], None]], str]
) -> None:
    lines = shown_at(width, a_table).splitlines()
    assert " ".join(lines[2].split()) == f"twenty characters or {row}"
    assert ("Too narrow" in " ".join(lines)) == (width < 71)


def test_a_file_has_all_but_what_the_first_step_takes(capsys: pytest.CaptureFixture[str]) -> None:
    a_table()
    text = capsys.readouterr().out
    assert "[95.5,101.1]" in text and "[-0.50,+2.50]" in text and "Too narrow" not in text
    wide = empty_table("", "")
    wide.add_column("kept", no_wrap=True)
    wide.add_column("name", no_wrap=True)
    wide.add_row("98.3% [95.5,101.1]", "x" * 90)
    console().print(wide)
    text = capsys.readouterr().out
    assert "98.3%" in text and "95.5" not in text and "x" * 90 in text
