"""Each field of the rivals' fingerprints: what it stands for moves the store's key of the right side, and no other."""

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import pytest
import torch

from evals.embeddings.store import Store
from evals.encoders import api, build, open_clip_models, sentence_transformers
from evals.encoders import open_clip as open_clip_encoder
from evals.schema import Encoder, Side
from tests.rival_models import weights_file
from tests.toys import HashEncoder, text_side

SIDES = {
    "text": text_side(["a cat"]),
    "image": Side("image", ["picture"], ["i0"], ["0" * 64]),
}
BOTH = {"text", "image"}


class Bench:
    """A model and an installation that a test may change before the encoder is made."""

    def __init__(self, kind: str, spec: str, scratch: Path, patch: pytest.MonkeyPatch) -> None:
        self.kind, self.spec, self.scratch, self.patch = kind, spec, scratch, patch

    def encoder(self, **options: Any) -> Encoder:
        """By the door that commands use."""
        place = {"name": "rival", "spec": self.spec}
        return build(self.kind, place, options, dict.fromkeys(options))

    def at(self, spec: str) -> Encoder:
        self.spec = spec
        return self.encoder()

    def install(self, package: str) -> Encoder:
        """With another version of a package."""
        installed = importlib.metadata.version

        def version(name: str) -> str:
            return "99.0" if name == package else installed(name)

        self.patch.setattr(importlib.metadata, "version", version)
        return self.encoder()

    def with_value(self, target: object, name: str, value: object) -> Encoder:
        self.patch.setattr(target, name, value)
        return self.encoder()

    def on_cuda(self) -> Encoder:
        """Where the GPU tells nothing of itself, so that only the kind of the device is another."""
        for module in (open_clip_encoder, sentence_transformers):
            self.patch.setattr(module, "rounding", lambda device: {})
        return self.with_gpu()

    def with_gpu(self, capability: tuple[int, int] = (9, 0), cudnn: int = 91_002) -> Encoder:
        self.patch.setattr(torch.cuda, "is_available", lambda: True)
        self.patch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        self.patch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
        return self.encoder()

    def with_file(self, name: str) -> Encoder:
        """With another file in the model's folder."""
        self.spec = str(shutil.copytree(self.spec, self.scratch / "copy"))
        (Path(self.spec) / name).write_bytes((Path(self.spec) / name).read_bytes() + b" ")
        return self.encoder()


class Change(NamedTuple):
    """What is changed from `before`, the fields that say so, and the sides they concern."""

    fields: set[str]
    sides: set[str]
    changed: Callable[[Bench], Encoder]
    before: Callable[[Bench], Encoder] = Bench.encoder


def same(name: str, sides: set[str], changed: Callable[[Bench], Encoder]) -> Change:
    return Change({name}, sides, changed)


# What torch says of the arithmetic, beside its version.
ROUNDING = [
    Change({"gpu"}, BOTH, lambda bench: bench.with_gpu((8, 0)), before=Bench.with_gpu),
    Change({"cudnn"}, BOTH, lambda bench: bench.with_gpu(cudnn=90_100), before=Bench.with_gpu),
    same(
        "float32",
        BOTH,
        lambda bench: bench.with_value(torch, "get_float32_matmul_precision", lambda: "high"),
    ),
]
# Behind `image.input` is code alone, whose changes raise the schema in `api`.
API = "https://api.example/v1/embeddings#"
API_CHANGES = [
    same("api", BOTH, lambda bench: bench.with_value(api, "SCHEMA", "2")),
    same("url", BOTH, lambda bench: bench.at(f"{API.replace('v1', 'v2')}jina-clip-v2;dim=4")),
    same("model", BOTH, lambda bench: bench.at(f"{API}jina-clip-v1;dim=4")),
    same("dimensions", BOTH, lambda bench: bench.at(f"{API}jina-clip-v2;dim=8")),
    same("answers", BOTH, lambda bench: bench.at(f"{API}jina-clip-v2;dim=4;answers=x")),
    Change(
        {"model", "text.input"},
        BOTH,
        lambda bench: bench.at(f"{API}jina-embeddings-v4;dim=4"),
    ),
    Change(
        {"model", "text.input", "normalized", "text.task", "image.task"},
        BOTH,
        lambda bench: bench.at(f"{API}bge-m3;dim=4"),
    ),
]


def without_torchvision(bench: Bench) -> Encoder:
    find_spec = importlib.util.find_spec
    bench.patch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torchvision" else find_spec(name)
    )
    return bench.encoder()


ST_CHANGES = [
    same("maths", BOTH, lambda bench: bench.with_value(sentence_transformers, "MATHS", "2")),
    same("weights", BOTH, lambda bench: bench.with_file("model.safetensors")),
    same("weights", BOTH, lambda bench: bench.with_file("tokenizer.json")),
    same("weights", BOTH, lambda bench: bench.with_file("1_Pooling/config.json")),
    same("dtype", BOTH, lambda bench: bench.encoder(dtype="bfloat16")),
    same("device", BOTH, lambda bench: bench.on_cuda()),
    same("torch", BOTH, lambda bench: bench.with_value(torch, "__version__", "99.0")),
    same("sentence-transformers", BOTH, lambda bench: bench.install("sentence-transformers")),
    same("transformers", BOTH, lambda bench: bench.install("transformers")),
    same("text.tokenizers", {"text"}, lambda bench: bench.install("tokenizers")),
    same("text.max_length", {"text"}, lambda bench: bench.encoder(max_length=77)),
    same("image.pillow", {"image"}, lambda bench: bench.install("pillow")),
    same("image.torchvision", {"image"}, lambda bench: bench.install("torchvision")),
    same("image.torchvision", {"image"}, without_torchvision),
    *ROUNDING,
]


def other_checkpoint(bench: Bench) -> Encoder:
    config, _ = bench.spec.split(".json/")
    return bench.at(f"{config}.json/{weights_file(bench.scratch / 'w.pt', 'toy-nllb', seed=1)}")


def other_architecture(bench: Bench) -> Encoder:
    """The same config under another name."""
    config, weights = bench.spec.split(".json/")
    copy = shutil.copy(f"{config}.json", bench.scratch / "twin-nllb.json")
    return bench.at(f"{copy}/{weights}")


def with_config(part: str, name: str, value: int) -> Callable[[Bench], Encoder]:
    """As if open_clip described the architecture of that name otherwise."""

    def changed(bench: Bench) -> Encoder:
        config = open_clip.get_model_config("toy-nllb")
        config[part][name] = value
        bench.patch.setattr(open_clip, "get_model_config", lambda arch: config)
        return bench.at(f"toy-nllb/{bench.spec.split('.json/')[1]}")

    return changed


def other_tokenizer(bench: Bench) -> Encoder:
    file = Path(bench.spec.split(".json/")[0]).parent / "tokenizer" / "tokenizer.json"
    contents = file.read_bytes()
    file.write_bytes(contents + b" ")
    try:
        return bench.encoder()
    finally:
        file.write_bytes(contents)


def other_preparation(bench: Bench) -> Encoder:
    preparation = open_clip_models.image_preparation(open_clip, "toy-nllb", {})
    preparation["interpolation"] = "bilinear"
    return bench.with_value(open_clip_encoder, "image_preparation", lambda *args: preparation)


OPEN_CLIP_CHANGES = [
    same("library", BOTH, lambda bench: bench.with_value(open_clip, "__version__", "99.0")),
    same("arch", BOTH, other_architecture),
    same("config", BOTH, with_config("vision_cfg", "layers", 3)),
    Change({"config", "text.context_length"}, BOTH, with_config("text_cfg", "context_length", 20)),
    same("weights", BOTH, other_checkpoint),
    same("dtype", BOTH, lambda bench: bench.encoder(dtype="float16")),
    same("device", BOTH, lambda bench: bench.on_cuda()),
    same("torch", BOTH, lambda bench: bench.with_value(torch, "__version__", "99.0")),
    same("text.tokenizer", {"text"}, other_tokenizer),
    same("text.ftfy", {"text"}, lambda bench: bench.install("ftfy")),
    same("text.transformers", {"text"}, lambda bench: bench.install("transformers")),
    same(
        "text.languages",
        {"text"},
        lambda bench: bench.with_value(open_clip_models, "FLORES", {"en": "eng_Latn"}),
    ),
    same("image.preprocess", {"image"}, other_preparation),
    same("image.pillow", {"image"}, lambda bench: bench.install("pillow")),
    same("image.torchvision", {"image"}, lambda bench: bench.install("torchvision")),
    *ROUNDING,
]
TIMM_CHANGES = [same("image.timm", {"image"}, lambda bench: bench.install("timm"))]
CHANGES: Mapping[str, list[Change]] = {
    "api": API_CHANGES,
    "sentence_transformers": ST_CHANGES,
    "open_clip": OPEN_CLIP_CHANGES,
    "timm": TIMM_CHANGES,
}
CASES = [(kind, n) for kind, changes in CHANGES.items() for n in range(len(changes))]


@pytest.fixture
def bench_of(request, tmp_path, monkeypatch) -> Callable[[str], Bench]:
    """The unchanged model of a kind."""

    def bench(kind: str) -> Bench:
        if kind == "api":
            return Bench("api", f"{API}jina-clip-v2;dim=4", tmp_path, monkeypatch)
        if kind == "sentence_transformers":
            spec = str(request.getfixturevalue("text_model"))
            return Bench(kind, spec, tmp_path, monkeypatch)
        if kind == "timm":
            return Bench("open_clip", "ViT-B-16-SigLIP/webli", tmp_path, monkeypatch)
        return Bench(kind, request.getfixturevalue("nllb"), tmp_path, monkeypatch)

    return bench


def moved(encoder: Encoder, other: Encoder, root: Path) -> set[str]:
    """The sides whose rows by one encoder are not those of the other to the store."""
    store = Store(root)
    for side in SIDES.values():
        store.embed(HashEncoder(encoder.dim, fingerprint=encoder.fingerprint), side)
    probe = HashEncoder(other.dim, fingerprint=other.fingerprint)
    return {kind for kind, side in SIDES.items() if store.missing(probe, side)}


def differing(encoder: Encoder, other: Encoder) -> set[str]:
    names = encoder.fingerprint.keys() | other.fingerprint.keys()
    return {name for name in names if encoder.fingerprint.get(name) != other.fingerprint.get(name)}


@pytest.mark.parametrize("kind, n", CASES)
def test_what_is_behind_a_field_moves_the_key_of_its_side_and_no_other(bench_of, tmp_path, kind, n):
    bench, change = bench_of(kind), CHANGES[kind][n]
    before = change.before(bench)
    after = change.changed(bench)
    assert differing(before, after) == change.fields
    assert moved(before, after, tmp_path / "store") == change.sides


@pytest.mark.parametrize(
    "kind, without",
    [("api", {"image.input"}), ("sentence_transformers", set()), ("open_clip", set())],
)
def test_the_changes_reach_every_field(bench_of, kind, without):
    reached = set().union(*(change.fields for change in CHANGES[kind]))
    bench = bench_of(kind)
    # what only a GPU or a program's choice adds to the key
    bench.patch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert bench.with_gpu().fingerprint.keys() - reached == without


def test_a_timm_tower_adds_one_field(bench_of):
    tag, nllb = bench_of("timm").encoder(), bench_of("open_clip").encoder()
    assert tag.fingerprint.keys() - nllb.fingerprint.keys() == {"image.timm"}


def test_the_same_model_elsewhere_has_the_same_fingerprint(bench_of, tmp_path):
    bench = bench_of("sentence_transformers")
    before = bench.encoder()
    copy = bench.at(str(shutil.copytree(bench.spec, tmp_path / "copy")))
    assert copy.fingerprint == before.fingerprint
    bench = bench_of("open_clip")
    before = bench.encoder()
    config, weights = bench.spec.split(".json/")
    copy = bench.at(f"{config}.json/{shutil.copy(weights, tmp_path / 'copy.pt')}")
    assert copy.fingerprint == before.fingerprint


@pytest.mark.parametrize("kind", CHANGES)
def test_a_name_that_is_given_is_the_model_s_whatever_its_kind(bench_of, kind):
    assert bench_of(kind).encoder().name == "rival"


def test_no_field_is_empty_or_more_than_text(bench_of):
    for kind in CHANGES:
        fingerprint = bench_of(kind).encoder().fingerprint
        assert all(isinstance(value, str) and value for value in fingerprint.values())
        assert json.dumps(dict(fingerprint))
