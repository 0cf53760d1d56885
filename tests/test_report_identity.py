"""A published row counts for the published weights only; who stands in for them is named wherever the number is."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.records.identity import ModelIdentity, Named
from evals.report.__main__ import app
from evals.report.checkpoints import Pinned, runnable
from evals.report.measured import Records
from evals.report.names import Place
from evals.report.tables import table
from evals.report.verdicts import judge
from tests.published_toys import encoder, write_record
from tests.records import resigned

TABLE = "v2post-flickr30k"
T2I = Place("flickr-quoted", None, "en", "t2i", "R@5", None)
I2T = T2I._replace(direction="i2t")
V2 = runnable()["jina-clip-v2"]
HERE = "/models/d/jina-clip-v2"
WEIGHTS = "d" * 64
LOCAL = {"repo": None, "revision": None, "spec": None, "folder": HERE}


def local(width: int = 1024, weights: str = WEIGHTS, folder: str = HERE) -> dict[str, Any]:
    """What a manifest says of a checkpoint in a folder."""
    source = LOCAL | {"folder": folder}
    return {"dim": width, "source": source, "fingerprint": {"weights": weights}}


def measured(root: Path, value: float = 0.898, width: int = 1024, **manifest: Any) -> Path:
    """A record called jina-clip-v2, of the checkpoint in a folder unless it says otherwise."""
    about = {"encoder": local()} | manifest
    path = write_record(root, "flickr-quoted", "jina-clip-v2", {T2I: value}, width=width)
    return resigned(path, **about)


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["-t", TABLE, *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def shown(root: Path, **stand_in: str) -> float | None:
    names = {name.replace("_", "-"): text for name, text in stand_in.items()}
    judged = judge(table(TABLE), Records(root), names)
    place = ("Text-to-image", "jina-clip-v2", "Score")
    return next(result.measured for *where, result in judged.results if tuple(where) == place)


def test_whatever_lies_in_a_folder_of_that_name_is_not_the_published_model(tmp_path):
    path = measured(tmp_path / "runs")
    assert shown(tmp_path / "runs") is None
    code, out, err = run("--results", tmp_path / "runs", "--json")
    cells = json.loads(out)["tables"][0]["cells"]
    assert (code, {cell["measured"] for cell in cells}) == (0, {None})
    assert f"{path} is of jina-clip-v2 ({HERE}, weights dddddddddddd, 1024 dimensions)" in err
    assert "--as" in err
    assert any(str(path) in (cell["why"] or "") for cell in cells)


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "0" * 40},
        {"repo": "someone/jina-clip-v2"},
        {"repo": None, "folder": "/models/jina-clip-v2"},
    ],
)
def test_another_commit_repository_or_folder_does_not_count(tmp_path, change):
    about = encoder("jina-clip-v2", 1024)
    measured(tmp_path, encoder=about)
    assert shown(tmp_path) == pytest.approx(89.8)
    measured(tmp_path / "other", encoder=about | {"source": about["source"] | change})
    assert shown(tmp_path / "other") is None


def test_the_same_weights_count_from_anywhere_and_under_any_name(tmp_path):
    """The hash is learned from a record of the published commit, of whatever benchmark."""
    mine = resigned(measured(tmp_path), model="mine", encoder=local())
    assert mine.parent.name == "mine" and shown(tmp_path) is None
    known = encoder("jina-clip-v2", 1024)
    known["fingerprint"]["weights"] = WEIGHTS
    write_record(tmp_path, "coco", "jina-clip-v2", {I2T._replace(benchmark="coco"): 0.5})
    official = next((tmp_path / "coco" / "jina-clip-v2").iterdir())
    resigned(official, encoder=known)
    assert shown(tmp_path) == pytest.approx(89.8)


def test_known_hashes_and_the_full_width_decide():
    model = ModelIdentity("x", folder="/y", weights=WEIGHTS, width=1024)
    assert not V2.accepts(model)
    known = replace(V2, weights=frozenset({WEIGHTS}))
    assert known.accepts(model) and not known.accepts(replace(model, width=256))
    official = ModelIdentity("x", repo=V2.repo, revision=V2.revision, width=1024)
    assert V2.accepts(official) and not V2.accepts(replace(official, width=None))


def test_unknown_weights_are_no_known_ones():
    """A model behind an API has no hash, and neither has a spec that was not fetched."""
    nobody = Pinned(("x",), 8, weights=frozenset())
    assert not nobody.accepts(ModelIdentity("x", width=8))
    assert not ModelIdentity("x", url="a").same_model(ModelIdentity("x", url="b"))


def test_a_rival_counts_by_its_spec(tmp_path):
    rival = runnable()["openai-clip-vit-b-32"]
    model = ModelIdentity("y", spec="ViT-B-32-quickgelu/openai", width=512)
    assert rival.accepts(model)
    assert not rival.accepts(replace(model, spec="ViT-B-32-quickgelu//models/my.pt"))


# --- who stands in


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """256 dimensions of a noisy copy, called jina-clip-v2 as the published model is."""
    measured(tmp_path / "runs", 0.005, width=256, encoder=local(256))
    return tmp_path


def test_a_footnote_in_every_format_names_the_folder_and_the_hash(stand_in, monkeypatch):
    from matplotlib.figure import Figure

    drawn: list[str] = []
    text = Figure.text

    def noted(self: Figure, x: float, y: float, s: str, **how: Any) -> Any:
        drawn.append(s)
        return text(self, x, y, s, **how)

    monkeypatch.setattr(Figure, "text", noted)
    code, out, _ = run(
        "--results",
        stand_in / "runs",
        "--out",
        stand_in,
        "--format",
        "md,html,csv,latex,png",
        "--as",
        "jina-clip-v2=jina-clip-v2",
    )
    assert code == 0
    pages = {
        name: (stand_in / f"{TABLE}.{name}").read_text() for name in ("md", "html", "csv", "tex")
    }
    pages |= {"terminal": out, "png": "\n".join(drawn)}
    for name, page in pages.items():
        folded = " ".join(page.split()).replace("\\", "").replace("- ", "-")
        for part in (HERE, "dddddddddddd", "256 dimensions", "Where the table says jina-clip-v2"):
            assert part in folded or part.replace("_", "\\_") in page, (name, part)


def test_a_number_of_a_stand_in_carries_the_mark_of_its_footnote(stand_in):
    _, out, _ = run("--results", stand_in / "runs", "--as", "jina-clip-v2=jina-clip-v2")
    assert "0.50[2]" in out and "[2] Where the table says" in " ".join(out.split())


def test_the_csv_says_what_was_measured_not_what_was_published(stand_in):
    run(
        "--results",
        stand_in / "runs",
        "--out",
        stand_in,
        "--format",
        "csv",
        "--as",
        "jina-clip-v2=jina-clip-v2",
    )
    lines = list(csv.DictReader(StringIO((stand_in / f"{TABLE}.csv").read_text())))
    [line] = [line for line in lines if line["measured"]]
    assert (line["dim"], line["measured_model"], line["place"]) == ("256", "jina-clip-v2", HERE)
    assert line["weights"] == WEIGHTS and line["data"].startswith("flickr-quoted/en=")


def test_the_data_and_the_models_that_were_measured_are_shown(tmp_path):
    measured(tmp_path, encoder=encoder("jina-clip-v2", 1024))
    _, out, _ = run("--results", tmp_path)
    folded = " ".join(out.split())
    assert "Measured models: jina-clip-v2 (jinaai/jina-clip-v2@344d954da76e" in folded
    assert "Measured data, by content hash: flickr-quoted en " in folded


def test_a_stand_in_is_one_checkpoint_whatever_else_has_its_name(tmp_path):
    """The newest record decides; numbers of older weights under the same name are not mixed in."""
    old = measured(tmp_path, 0.5, encoder=local(weights="0" * 64))
    resigned(old, written="2026-01-01T00:00:00Z")
    write_record(tmp_path, "coco", "jina-clip-v2", {I2T._replace(benchmark="coco"): 0.5})
    newest = next((tmp_path / "coco" / "jina-clip-v2").iterdir())
    resigned(newest, encoder=local(), written="2026-01-02T00:00:00Z")
    assert shown(tmp_path, jina_clip_v2="jina-clip-v2") is None
    measured(tmp_path, 0.7)
    assert shown(tmp_path, jina_clip_v2="jina-clip-v2") == pytest.approx(70.0)


def test_a_stand_in_may_be_named_by_its_folder(tmp_path):
    folder = tmp_path / "checkpoint-500"
    folder.mkdir()
    measured(tmp_path / "runs", encoder=local(folder=str(folder)))
    assert shown(tmp_path / "runs", jina_clip_v2=str(folder)) == pytest.approx(89.8)
    assert shown(tmp_path / "runs", jina_clip_v2=str(tmp_path)) is None


# --- data and places


def test_data_with_another_hash_than_the_published_does_not_count(tmp_path):
    measured(tmp_path, encoder=encoder("jina-clip-v2", 1024), data={"en": {"content": "1" * 64}})
    records = Records(tmp_path)
    assert records.number(V2, T2I._replace(content="1" * 64)) is not None
    assert records.number(V2, T2I._replace(content="2" * 64)) is None


def test_a_record_in_the_place_of_another_is_invalid(tmp_path):
    path = measured(tmp_path, encoder=encoder("jina-clip-v2", 1024))
    path.rename(path.with_name("20200101T000000Z-00000000"))
    code, _, err = run("--results", tmp_path)
    assert code == 3 and "by its manifest this record is flickr-quoted/jina-clip-v2" in err


def test_a_record_from_the_future_is_invalid(tmp_path):
    measured(tmp_path, encoder=encoder("jina-clip-v2", 1024), written="2999-01-01T00:00:00Z")
    code, _, err = run("--results", tmp_path)
    assert code == 3 and "future" in err


def test_the_identity_of_an_unfetched_tag_has_no_hash():
    source, fingerprint = {"spec": "ViT-B-32/openai"}, {"weights": "tag openai"}
    assert ModelIdentity.of("m", source, fingerprint).weights is None
    fetched = ModelIdentity.of("m", source | {"sha256": WEIGHTS}, fingerprint)
    assert fetched.weights == WEIGHTS
    assert not Named(name="n").accepts(fetched)
