"""The modality gap by hand, the figures of a fusion run, and the command that makes them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals.analysis.fusion import as_fusion
from evals.analysis.modality_gap import modality_gap
from evals.config.catalog import benchmark
from evals.evaluation.recording import metric_lines
from evals.records.record import read_queries, read_run
from evals.tasks.fusion import roles, score
from evals.views.fusion_figures import alpha_of, plot_alpha, plot_gap
from tests.commands import run
from tests.toys import image_text

ROOT = Path(__file__).parents[1]
PAIRS = [
    ("text_text", "matched"),
    ("text_text", "random"),
    ("text_image", "matched"),
    ("text_image", "random"),
]


def clouds(
    n: int = 30, d: int = 16, apart: float = 2.0, noise: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Images, and two texts of each near it but pushed away along the first axis."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((n, d)).astype(np.float32)
    texts = np.repeat(images, 2, axis=0) + noise * rng.standard_normal((2 * n, d)).astype(
        np.float32
    )
    texts[:, 0] += apart
    return images, texts


def test_cosines_and_centroids_are_those_of_the_definition():
    # documents: texts 0 and 2 with images 0 and 1; queries: texts 1 and 3
    data = image_text([0, 0, 1, 1])
    texts = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 1]], np.float32)
    images = np.array([[0, 2], [-3, 0]], np.float32)  # unit rows (0, 1) and (-1, 0)
    gap = modality_gap(images, texts, roles(data), dim=2)
    assert list(gap.cosines) == PAIRS
    assert gap.cosines["text_text", "matched"] == pytest.approx([0.6, 1.0])
    assert gap.cosines["text_image", "matched"] == pytest.approx([0.8, 0.0])
    assert set(gap.cosines["text_text", "random"].round(6)) == {
        0.8,
        0.0,
    }  # query 0 with text 2, query 1 with text 0
    assert set(gap.cosines["text_image", "random"].round(6)) == {-0.6, 1.0}
    assert gap.centroid_distance == pytest.approx(np.hypot(-0.5 - 0.4, 0.5 - 0.7))
    told = gap.as_json()
    assert told["text_text_above_text_image"] == 0.5
    by = {(p["kind"], p["pair"]): p for p in told["pairs"]}
    assert by["text_text", "matched"]["mean"] == pytest.approx(0.8)
    assert by["text_text", "matched"]["std"] == pytest.approx(0.2)
    assert all(sum(p["histogram"]) == p["n"] for p in by.values())
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_random_pairs_never_match_and_are_the_same_for_the_same_seed():
    images, texts = np.eye(3, dtype=np.float32), np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    data = image_text([0, 0, 1, 1, 2, 2])
    gaps = [modality_gap(images, texts, roles(data), dim=3, seed=seed) for seed in (0, 0, 1)]
    for gap in gaps:
        assert (gap.cosines["text_text", "random"] == 0).all() and (
            gap.cosines["text_image", "random"] == 0
        ).all()
        assert (gap.cosines["text_text", "matched"] == 1).all() and gap.centroid_distance == 0
        assert 6_000 < len(gap.cosines["text_text", "random"]) < 7_300  # two thirds of 10,000
    sizes = [len(gap.cosines["text_text", "random"]) for gap in gaps]
    assert sizes[0] == sizes[1] != sizes[2]


def test_texts_pushed_away_from_images_widen_the_gap():
    data = image_text([i for i in range(30) for _ in range(2)])
    near, far = (modality_gap(*clouds(apart=apart), roles(data), dim=16) for apart in (0.0, 4.0))
    assert near.centroid_distance < 0.2 < 0.6 < far.centroid_distance
    assert far.as_json()["text_text_above_text_image"] == 1
    for gap in (near, far):
        assert (
            gap.cosines["text_text", "matched"].mean() > gap.cosines["text_text", "random"].mean()
        )


def test_the_figures_show_what_was_measured(tmp_path, monkeypatch):
    import evals.views.fusion_figures as plots

    drawn = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure) or path)
    data = image_text([i for i in range(30) for _ in range(2)])
    images, texts = clouds(noise=1.5)
    scores = score([images, texts], data, dims=[16])
    plot_alpha(tmp_path / "a.png", scores, "toy")
    plot_gap(tmp_path / "g.png", modality_gap(images, texts, roles(data), dim=16), "toy")
    sweep, gap = drawn
    (axes,) = sweep.axes
    line = axes.lines[0]
    assert line.get_xdata() == pytest.approx(np.linspace(0, 1, 11))
    by_name = {s.direction: 100 * s.values["R@1"].value for s in scores}
    assert by_name["ti"] != by_name["tt"]
    assert (line.get_ydata()[0], line.get_ydata()[6], line.get_ydata()[10]) == tuple(
        by_name[name] for name in ("ti", "weighted@0.6", "tt")
    )
    low, high = axes.get_ylim()
    assert low <= min(line.get_ydata()) and max(line.get_ydata()) <= high
    assert "R@1, per cent" in axes.get_ylabel() and "weight of the text" in axes.get_xlabel()
    labels = [text.get_text() for panel in gap.axes for text in panel.texts]
    assert [label.split("\n")[0] for label in labels] == [
        f"{pair} {kind.replace('_', '-')}" for kind, pair in PAIRS
    ]
    assert (
        len({panel.get_xlim() for panel in gap.axes})
        == len({panel.get_ylim() for panel in gap.axes})
        == 1
    )


def test_figures_are_whole_pngs(tmp_path):
    data = image_text([i for i in range(30) for _ in range(2)])
    images, texts = clouds()
    paths = [
        plot_alpha(tmp_path / "a.png", score([images, texts], data, dims=[16]), "toy"),
        plot_gap(tmp_path / "g.png", modality_gap(images, texts, roles(data), dim=16), "toy"),
    ]
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (960, 540) and len(set(image.convert("L").tobytes())) > 10


def test_directions_have_the_weight_they_name():
    assert [alpha_of(name) for name in ("tt", "ti", "weighted@0.3", "zscore@0.5")] == [
        1.0,
        0.0,
        0.3,
        None,
    ]


def test_a_fusion_has_a_key_and_a_folder_of_its_own():
    row = as_fusion(benchmark("flickr8k-quoted"))
    assert (row.name, row.task, row.folder) == (
        "flickr8k-quoted.fusion",
        "fusion",
        benchmark("flickr8k-quoted").folder,
    )
    assert as_fusion(benchmark("coco")).folder == "coco"
    json.dumps(row.model_dump(mode="json"))


def test_the_command_encodes_nothing_that_a_plain_run_has_encoded(checkpoint, tmp_path):
    part = ("--model", checkpoint, "--subsets", "en", "--limit", "40")
    plain = run("scenes", *part, "--json", cwd=tmp_path, module="evals.run")
    assert plain.returncode == 0, plain.stderr
    done = run("scenes", *part, "--dims", "32,8", "--json", cwd=tmp_path, module="evals.fusion")
    assert done.returncode == 0, done.stderr
    (only,) = json.loads(done.stdout)["runs"]
    assert only["encoded"] == {"image": 0, "text": 0}
    assert only["benchmark"] == "scenes.fusion.partial" and only["partial"] == {
        "subsets": ["en"],
        "limit": 40,
        "seed": 0,
    }
    record = read_run(tmp_path / only["path"])
    assert (
        record.manifest.raw["benchmark"] == "scenes.fusion.partial"
        and record.manifest.raw["config"]["row"]["task"] == "fusion"
    )
    assert [vars(line) for line in record.metrics] == only["metrics"]
    assert len(read_queries(record)) == 40 * 13 * 2
    assert {(m["n_queries"], m["n_gallery"]) for m in only["metrics"]} == {(40, 40)}
    value = {
        (m["dim"], m["direction"]): m["value"]
        for m in only["metrics"]
        if m["metric"] == "R" and m["k"] == 1
    }
    gains = {(g["dim"], g["direction"]): g for g in only["gains"] if g["metric"] == "R@1"}
    assert len(gains) == 12 * 2
    for (dim, direction), gain in gains.items():
        assert gain["value"] == pytest.approx(value[dim, direction] - value[dim, "tt"])
        assert gain["ci_low"] <= gain["value"] <= gain["ci_high"] and 0 < gain["p"] <= 1
        assert (gain["value"] != 0) <= (gain["wins"] + gain["losses"] > 0) and gain["wins"] + gain[
            "losses"
        ] <= 40
    assert {Path(path).name for path in only["files"]} == {
        "fusion.json",
        "alpha-en.png",
        "gap-en.png",
    }
    assert all((tmp_path / path).is_file() for path in only["files"])
    told = json.loads((tmp_path / only["path"] / "fusion.json").read_text())
    assert told == {
        key: only[key] for key in ("schema_version", "gains", "gap") if key != "schema_version"
    } | {"schema_version": 1}


def test_a_person_gets_the_merges_the_sweep_and_the_gap(checkpoint, tmp_path):
    options = ("--model", checkpoint, "--subsets", "en,de", "--limit", "20")
    done = run(*options, cwd=tmp_path, module="evals.fusion")
    assert done.returncode == 0, done.stderr
    for piece in (
        "Scenes, fusion · small-v2",
        "weighted 0.6",
        "z-scores",
        "R@1 by the weight",
        "centroids",
        "alpha-de.png",
    ):
        assert piece in done.stdout
    assert max(map(len, done.stdout.splitlines()[:12])) <= 84


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("scene",), 2, "Did you mean scenes"),
        (("--subsets", "xx"), 2, "no subset xx"),
        (("--limit", "1"), 2, "with two or more captions per image"),
        (("--dims", "999"), 2, "has 32 dimensions"),
        (("--instruction",), 2, "--instruction means nothing"),
        (("mteb:STSBenchmark",), 2, "is no row of configs"),
    ],
)
def test_what_cannot_be_merged_is_said_with_its_exit_code(
    checkpoint, tmp_path, arguments, code, message
):
    done = run(*arguments, "--model", checkpoint, cwd=tmp_path, module="evals.fusion")
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("manifest.json")) and not list(tmp_path.rglob("*.safetensors"))


def test_lines_of_every_direction_have_intervals():
    data = image_text([0, 0, 1, 1, 2, 2])
    images, texts = clouds(3)
    lines = metric_lines({"en": score([images, texts], data, dims=[16])})
    assert all(line.ci_low is not None for line in lines if line.k)
