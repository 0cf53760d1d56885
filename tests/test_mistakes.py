"""The worst queries are those that the record ranks worst, and what is shown as preferred was."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from evals.analysis import searched as searches
from evals.analysis.mistakes import Mistake, Mistakes, find_mistakes
from evals.analysis.recorded import Recorded
from evals.analysis.searched import Shown
from evals.embeddings.store import Store
from evals.escape import markdown_text
from evals.mistakes import app
from evals.records.queries import Cell
from evals.records.record import read_queries, read_run
from evals.schema import Side
from evals.views import mistakes as mistakes_page
from tests import records
from tests.toys import image_text

RUNNER = CliRunner()
NASTY = "<script>alert(1)</script> a | b *c* _d_ [e](f)"
ARABIC = "في الصورة حلقة حمراء"


def run(*arguments: object) -> Any:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object, code: int) -> str:
    done = run(*arguments)
    assert done.exit_code == code, done.output
    return " ".join(done.stderr.split())


def stored_rows(record: Path, side: Side) -> np.ndarray:
    fingerprint = read_run(record).manifest.raw["encoder"]
    encoder = Recorded("tiny", fingerprint["dim"], fingerprint["fingerprint"])
    rows = Store(record.parents[3] / "store").embed(encoder, side).rows[:, :64].astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_what_is_preferred_is_what_scores_above(scenes_run: Path, direction: str) -> None:
    found = find_mistakes(read_run(scenes_run), Cell("de", direction, 64, "float32"), top=10)
    texts, images = found.data.texts, found.data.images
    scores = stored_rows(scenes_run, texts) @ stored_rows(scenes_run, images).T
    own = found.data.image_of_text[:, None] == np.arange(len(images))
    scores, own = (scores, own) if direction == "t2i" else (scores.T, own.T)
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    tied = np.abs(scores - best) < 1e-9  # captions of the same words
    better = (~own & ~tied & (scores > best)).sum(axis=1)
    ranks = better + 1 + (tied & ~own).sum(axis=1) / ((tied & own).sum(axis=1) + 1)
    assert [mistake.rank for mistake in found.mistakes] == pytest.approx(np.sort(ranks)[::-1][:10])
    assert (found.queries, found.wrong) == (len(ranks), (ranks > 1).sum())
    for mistake in found.mistakes:
        row = np.where(own[mistake.query.place], -np.inf, scores[mistake.query.place])
        assert [shown.score for shown in mistake.preferred] == pytest.approx(
            np.sort(row)[::-1][:5], abs=1e-5
        )
        assert own[mistake.query.place, mistake.gold.place]
        assert mistake.gold.score == pytest.approx(best[mistake.query.place, 0], abs=1e-6)
        assert scores[mistake.query.place, mistake.gold.place] == pytest.approx(mistake.gold.score)
        assert all(
            shown.score >= (mistake.gold.score or 0) - 1e-5
            for shown in mistake.preferred
            if shown.score is not None
        )


def test_an_image_whose_only_caption_is_shared_is_shown_with_it() -> None:
    """Equal captions are one text, whose first image is another: data of one protocol has such."""
    data = replace(image_text([0, 2]), also=np.array([[0, 1]]))
    images = searches.searched(data, "t2i").docs
    captions = [searches.shown(data, images, place).text for place in range(3)]
    assert captions == ["text 0", "text 0", "text 1"]


def test_a_query_that_is_right_is_no_mistake(scenes_run: Path) -> None:
    found = find_mistakes(read_run(scenes_run), Cell("en", "t2i", 256, "float32"), top=10_000)
    assert len(found.mistakes) == found.wrong < found.queries
    assert min(mistake.rank for mistake in found.mistakes) > 1
    second = next(mistake for mistake in found.mistakes if mistake.rank == 2)
    assert len(second.preferred) == 1


def test_the_command_writes_a_page_a_table_and_json(scenes_run: Path, tmp_path: Path) -> None:
    html, markdown = tmp_path / "m.html", tmp_path / "m.md"
    done = run(scenes_run, "--top", 3, "--html", html, "--markdown", markdown)
    assert done.exit_code == 0, done.output
    assert all(
        f"{kind}: {path}" in done.stdout
        for kind, path in (("record", scenes_run), ("html", html), ("markdown", markdown))
    )
    found = json.loads(run(scenes_run, "--top", 3, "--json").stdout)
    assert (found["subset"], found["direction"], found["dim"], len(found["mistakes"])) == (
        "en",
        "t2i",
        256,
        3,
    )
    for mistake in found["mistakes"]:
        for shown in (mistake["query"], mistake["gold"], *mistake["preferred"]):
            assert shown["id"] in markdown.read_text() and shown["id"] in html.read_text()
    assert "<img" not in html.read_text()


def test_thumbnails_come_only_when_asked_for_and_are_small(
    scenes_run: Path, tmp_path: Path
) -> None:
    html = tmp_path / "m.html"
    assert run(scenes_run, "--top", 2, "--html", html, "--thumbnails").exit_code == 0
    uris = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', html.read_text())
    assert len(uris) == 2 * 6
    for uri in uris:
        image = Image.open(io.BytesIO(base64.b64decode(uri)))
        assert image.format == "JPEG" and max(image.size) <= 128
    assert "licence" in html.read_text()
    assert "--html" in refusal(scenes_run, "--thumbnails", code=2)


def page(scenes_run: Path) -> Mistakes:
    data = image_text([0, 1])
    texts = replace(data.texts, items=[NASTY, ARABIC])
    shown = [Shown("text", i, f'"id{i}"', str(text), 0.5) for i, text in enumerate(texts.items)]
    return Mistakes(
        read_run(scenes_run),
        Cell("en", "i2t", 64, "float32"),
        data,
        2,
        1,
        [Mistake(2.5, *shown, shown)],
    )


def test_foreign_text_stays_text(scenes_run: Path) -> None:
    html = mistakes_page.as_html(page(scenes_run), thumbnails=False)
    assert "<script" not in html and "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert f'<p dir="auto">{ARABIC}</p>' in html and "&#34;id0&#34;" in html
    row = next(
        line
        for line in mistakes_page.as_markdown(page(scenes_run)).splitlines()
        if line.startswith("| 2.5 |")
    )
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "<script" not in row and r"\[e\](f)" in row


def test_the_page_loads_nothing_and_runs_nothing(scenes_run: Path) -> None:
    html = mistakes_page.as_html(page(scenes_run), thumbnails=False)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy and policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    from hashlib import sha256

    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert style and base64.b64encode(sha256(style[1].encode()).digest()).decode() in policy[1]
    assert not re.search(r"https?:|<script|<link|\son\w+=", html)


def test_markdown_shows_a_caption_as_it_was_written() -> None:
    assert markdown_text("a|b\n `c` <d> & *e*") == r"a\|b \`c\` &lt;d&gt; &amp; \*e\*"


def test_embeddings_that_are_not_stored_are_not_encoded(scenes_run: Path, tmp_path: Path) -> None:
    told = refusal(scenes_run, "--store", tmp_path / "empty", code=5)
    assert "texts by tiny are not stored. Run the evaluation again with --store" in told


def altered(
    root: Path, record: Path, manifest: dict[str, Any] | None = None, **columns: Any
) -> Path:
    """The record with other words in its manifest or other numbers in its table."""
    table = read_queries(read_run(record))
    for name, value in columns.items():
        table = table.set_column(table.column_names.index(name), name, value(table[name]))
    return records.rewritten(record, root, table=table, **(manifest or {}))


def test_other_data_than_was_measured_is_refused(scenes_run: Path, tmp_path: Path) -> None:
    data = {
        subset: dict(entry) | {"content": "0" * 64}
        for subset, entry in read_run(scenes_run).manifest.raw["data"].items()
    }
    assert "is not what was measured" in refusal(
        altered(tmp_path, scenes_run, {"data": data}), code=4
    )


def test_stored_rows_that_do_not_give_the_recorded_scores_are_refused(
    scenes_run: Path, tmp_path: Path
) -> None:
    import pyarrow as pa

    path = altered(
        tmp_path, scenes_run, score=lambda column: pa.array(column.to_numpy() + np.float32(0.01))
    )
    assert "Run the evaluation again" in refusal(path, code=3)


def test_what_has_no_mistakes_to_show_is_refused(scenes_run: Path, tmp_path: Path) -> None:
    config = dict(read_run(scenes_run).manifest.raw["config"])
    row = dict(config["row"]) | {"task": "classification"}
    path = altered(tmp_path, scenes_run, {"config": config | {"row": row}})
    # Before the directions of what was measured, of which t2i is none.
    for options in ((), ("--subset", "xx")):
        assert "no benchmark of images and captions" in refusal(path, *options, code=2)
    assert "It has en t2i, dim 256" in refusal(scenes_run, "--subset", "xx", code=2)
    assert "float32 only" in refusal("tiny:int8", "--benchmark", "scenes", code=2)
    assert "a model and its benchmark" in refusal("tiny", code=2)
    assert "no complete record of scenes by tiny" in refusal(
        "tiny", "--benchmark", "scenes", "--results", tmp_path / "x", code=5
    )
