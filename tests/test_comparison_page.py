"""A comparison's page says what was found to who knows no p, with the queries that moved, and loads nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.analysis.comparison import compare
from evals.analysis.movers import Movers, find_movers
from evals.compare import app
from evals.ranking.metrics import expected_rank
from evals.records.queries import Cell, ranks_of, table_of
from evals.records.record import read_run
from evals.records.selection import matched, operand
from evals.schema import ConfigError
from evals.views.comparison import Title
from evals.views.comparison_page import as_html
from tests import records
from tests.toys import image_text

NASTY = "<script>alert(1)</script>\"'&\u202e"


class Page(HTMLParser):
    """The tags of a page, what they refer to, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_the_sentence_the_plot_and_queries_with_pictures(
    scenes_run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    arguments = [str(scenes_run), f"{scenes_run}@64", "--html", str(path), "--no-figures"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    page = Page(path.read_text(encoding="utf-8"))
    sentence = " ".join(done.stdout.split("A tiny@256")[0].split())
    assert sentence in " ".join(page.text.split())
    assert page.tags.count("article") == 20 and "script" not in page.tags
    # the plot, and at least the right answer of each query
    assert len(page.addresses) > 20
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert re.search(r"Queries that got worse.*Queries that got better", page.text, re.DOTALL)
    assert " p " not in page.text.partition("All numbers")[0]
    assert "small copies of the data set's images" in page.text


def test_a_picture_that_cannot_be_opened_any_more_is_named_and_ends_nothing(
    scenes_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(data: object, item: object) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", "photo.jpg")

    monkeypatch.setattr("evals.views.comparison_page.picture", gone)
    pairs = matched(operand(str(scenes_run)), operand(f"{scenes_run}@64"), scenes_run.parent)
    html = as_html(Title.of(pairs), compare(pairs), "A sentence.", find_movers(*pairs[0]))
    assert "photo.jpg" in html and Page(html).tags.count("article") == 20


def test_movers_are_those_whose_reciprocal_rank_changed_most(scenes_run: Path) -> None:
    [(a, b)] = matched(operand(str(scenes_run)), operand(f"{scenes_run}@64"), scenes_run)
    movers = find_movers(a, b, "de", top=4)
    run = read_run(scenes_run)
    rank = {}
    for dim in (256, 64):
        table = table_of(run, Cell("de", "t2i", dim, "float32"))
        rank[dim] = dict(
            zip(table["query_id"].to_pylist(), expected_rank(ranks_of(table)), strict=True)
        )
    change = {name: 1 / rank[64][name] - 1 / rank[256][name] for name in rank[64]}
    changes = np.sort(list(change.values()))
    assert [change[m.id] for m in movers.worse] == pytest.approx(changes[:4])
    assert [change[m.id] for m in movers.better] == pytest.approx(changes[::-1][:4])
    for mover in movers.better:
        assert (mover.rank_a, mover.rank_b) == (rank[256][mover.id], rank[64][mover.id])
        # ranked first by B: the right answer itself
        if mover.rank_b == 1:
            assert mover.first_b == mover.gold


def of_ranks(root: Path, better: list[int], model: str) -> Path:
    row = {"name": "toy", "title": "Toy", "task": "image_text", "data": "captions"}
    row |= {"subsets": ["en"], "split": "test", "images": 3, "texts": 3}
    table = records.queries(3, better=better, group_id=["i0", "i1", "i2"])
    lines = [records.line(name, n_queries=3) for name in ("R@1", "R@5")]
    config = {"dims": [8], "row": row, "data": str(root / "gone")}
    return records.write(root, lines, table, model=model, config=config)


def test_without_the_data_the_page_shows_ids_and_says_why(tmp_path: Path) -> None:
    paths = [
        of_ranks(tmp_path, ranks, name) for name, ranks in (("a", [0, 1, 0]), ("b", [2, 0, 0]))
    ]
    [(a, b)] = matched(*map(operand, map(str, paths)), tmp_path)
    movers = find_movers(a, b)
    assert [m.id for m in movers.worse] == ["q0"] and [m.id for m in movers.better] == ["q1"]
    assert movers.data is None and "gone" in movers.notes[0]
    html = as_html(Title("a", "b", []), compare([(a, b)]), "An answer.", movers)
    page = Page(html)
    assert "q0" in page.text and "ids are shown" in page.text and len(page.addresses) == 1


def test_hostile_names_are_text_in_the_page(tmp_path: Path) -> None:
    paths = [
        of_ranks(tmp_path, ranks, name) for name, ranks in (("a", [0, 1, 0]), ("b", [2, 0, 0]))
    ]
    pairs = matched(*map(operand, map(str, paths)), tmp_path)
    title = Title(NASTY, NASTY, [NASTY])
    html = as_html(title, compare(pairs), NASTY, None, NASTY)
    assert "<script" not in html and "\u202e" not in html
    assert Page(html).tags.count("script") == 0


def test_a_page_without_pictures_says_nothing_of_their_licence(tmp_path: Path) -> None:
    one, other = (of_ranks(tmp_path, [0, 1, 0], name) for name in "ab")
    changes = compare(matched(operand(str(one)), operand(str(other)), tmp_path))
    nothing = Movers("en t2i", [], [], image_text([0, 1, 2]), [])
    assert "licence" not in as_html(Title("a", "b", []), changes, "An answer.", nothing)


def test_what_has_no_rank_per_query_has_no_movers(tmp_path: Path) -> None:
    paths = []
    for model in ("a", "b"):
        config = {"dims": [8], "row": {"task": "text_pairs"}}
        paths.append(records.write(tmp_path, [records.line()], model=model, config=config))
    [(a, b)] = matched(*map(operand, map(str, paths)), tmp_path)
    with pytest.raises(ConfigError, match="holds no rank per query"):
        find_movers(a, b)
