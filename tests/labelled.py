"""Toy sets of labelled images: discs of some colours, as CLIP_benchmark's webdatasets and as class folders."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from evals.config.catalog import Benchmark, Classes
from evals.schema import ClassPrompts, LabeledImages, Source
from tests.test_data_webdataset import put, shard

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "dark grey": (60, 60, 60),
    "sand": (220, 200, 90),
}
NAMES = list(COLOURS)
TEMPLATES = ["a photo of a {c}.", "{c}", "the colour {c}, seen from afar"]
PROMPTS = ClassPrompts(len(NAMES))


def picture(label: int, n: int, kind: str = "PNG") -> bytes:
    """A noisy picture in the colour of its class."""
    rng = np.random.default_rng([label, n])
    pixels = np.clip(
        np.array(list(COLOURS.values())[label]) + rng.integers(-90, 90, (20, 24, 3)), 0, 255
    ).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def labels(n: int = 48) -> list[int]:
    """Unequal classes: the first has about twice as many images as the others."""
    return [(i % 6) % len(NAMES) for i in range(n)]


def truths(n: int = 48) -> np.ndarray:
    """One class or two for each image."""
    rng = np.random.default_rng(3)
    found = rng.random((n, len(NAMES))) < 0.3
    found[np.arange(n), labels(n)] = True
    return found


def npy(row: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, row.astype(np.int64))
    return out.getvalue()


def webdataset(
    root: Path,
    *,
    multilabel: bool = False,
    split: str = "test",
    n: int = 48,
    seed: int = 0,
    **more: bytes,
) -> Path:
    """Two shards with names and templates of their own."""
    several, halves = truths(n), (range(n // 2), range(n // 2, n))
    files: dict[str, bytes] = {
        "classnames.txt": "\n".join(NAMES).encode() + b"\n",
        "zeroshot_classification_templates.txt": "\n".join(TEMPLATES).encode() + b"\n",
        f"{split}/nshards.txt": b"2\n",
        **({"dataset_type.txt": b"multilabel\n"} if multilabel else {}),
    }
    for number, half in enumerate(halves):
        members: dict[str, bytes | str] = {}
        for i in half:
            members[f"s{i:07d}__png"] = picture(labels(n)[i], seed + i)
            members[f"s{i:07d}__npy" if multilabel else f"s{i:07d}__cls"] = (
                npy(several[i]) if multilabel else str(labels(n)[i])
            )
        files[f"{split}/{number}.tar"] = shard(**members)
    return put(root, files | {name.replace("__", "."): data for name, data in more.items()})


def class_folders(
    root: Path, names: list[str], *, split: str | None = None, n: int = 30, seed: int = 0
) -> Path:
    """A folder of PNG files for each class."""
    for i, label in enumerate(labels(n)):
        folder = (root / split if split else root) / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes(picture(label, seed + i))
    return root


def source(
    root: Path | None, prompts: ClassPrompts = PROMPTS, split: str = "test", **more: str
) -> Source:
    return Source(("en",), split, folder=root, prompts=prompts, **more)


def load(root: Path, prompts: ClassPrompts = PROMPTS, split: str = "test") -> LabeledImages:
    """The only subset of a local folder."""
    from evals.data import load as load_subsets

    [data] = load_subsets("labeled_webdataset", source(root, prompts, split)).values()
    return data


def row(name: str = "toy", images: int = 48, **classes: object) -> Benchmark:
    """A classification row with clip-benchmark's imagenet1k templates unless `classes` says otherwise."""
    return Benchmark(
        name=name,
        title="Toy",
        task="classification",
        metric="acc@1",
        data="labeled_webdataset",
        subsets=("en",),
        split="test",
        images=images,
        classes=Classes(**{"count": len(NAMES), "dataset": "toy", **classes}),
    )
