"""Each image is decoded once, where it is encoded; a broken one is named then, and costs no more than its shard."""

import logging

import numpy as np
import pytest
from PIL import Image

import evals.data.images
from evals import EvalError, evaluate

COUNT = 260  # the second shard of the tiny model starts at 256
RUNS = {"model": "tiny", "device": "cpu"}


@pytest.fixture
def photos(tmp_path):
    """A folder of distinct photographs with a caption each."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,caption"]
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 30)).save(folder / f"{number}.jpg")
        lines.append(f"{number}.jpg,photo {number}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The names of images in the order in which they are opened."""
    names: list[str] = []
    opened = evals.data.images._open

    def note(data: bytes, name: str):
        names.append(name.rpartition("/")[2])
        return opened(data, name)

    monkeypatch.setattr(evals.data.images, "_open", note)
    return names


def run(photos, tmp_path):
    places = {"results": tmp_path / "runs", "store": tmp_path / "store"}
    return evaluate(f"captions:{photos}", **RUNS, **places)


def break_in_two(photos, name: str) -> bytes:
    whole = (photos / name).read_bytes()
    (photos / name).write_bytes(whole[: len(whole) // 2])
    return whole


def test_an_image_is_decoded_once_and_never_again(photos, tmp_path, decoded):
    run(photos, tmp_path)
    assert sorted(decoded) == sorted(f"{number}.jpg" for number in range(COUNT))
    decoded.clear()
    run(photos, tmp_path)
    assert decoded == []


def test_a_broken_image_is_named_at_once_and_costs_its_shard_alone(
    photos, tmp_path, decoded, caplog
):
    whole = break_in_two(photos, "3.jpg")
    with caplog.at_level(logging.WARNING), pytest.raises(EvalError) as failure:
        run(photos, tmp_path)
    assert "3.jpg: the image is broken" in str(failure.value)
    assert "256 images, 0.jpg to 255.jpg" in str(failure.value)
    # Tried three times, and told at the first.
    assert len([line for line in caplog.messages if "3.jpg: the image is broken" in line]) == 1
    assert not list((tmp_path / "runs").rglob("metrics.jsonl"))
    # Mended, the same command encodes the shard that lacks, and decodes nothing of the other.
    (photos / "3.jpg").write_bytes(whole)
    decoded.clear()
    assert run(photos, tmp_path).value("t2i/R@10") > 0
    assert sorted(decoded) == sorted(f"{number}.jpg" for number in range(256))


def test_broken_images_of_several_shards_are_named_together(photos, tmp_path):
    for name in ("3.jpg", "257.jpg"):
        break_in_two(photos, name)
    with pytest.raises(EvalError, match=r"2 shards.*3\.jpg.*257\.jpg"):
        run(photos, tmp_path)
