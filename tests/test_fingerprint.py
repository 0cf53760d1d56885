"""Each field of the jina-clip encoder's fingerprint: what it stands for moves the store's key of the right side, and no other."""

import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image

from evals.embeddings.store import Store
from evals.encoders import devices, jina
from evals.encoders.jina import JinaEncoder
from evals.schema import Side
from tests.toys import HashEncoder

SIDES = {
    "text": Side("text", ["a cat"], ["t0"], ["0" * 8]),
    "image": Side("image", [Image.new("RGB", (8, 8))], ["i0"], ["1" * 8]),
}
BOTH = {"text", "image"}


class Workbench:
    """A checkpoint and an installation that a test may change before the encoder is made."""

    def __init__(self, folder: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.scratch, self.monkeypatch = folder, scratch, monkeypatch

    def encoder(self, **options: Any) -> JinaEncoder:
        return JinaEncoder(name="small", folder=self.folder, device="cpu", **options)

    def edit(self, name: str, old: bytes, new: bytes) -> JinaEncoder:
        """With another file of the checkpoint."""
        self.folder = shutil.copytree(self.folder, self.scratch / "edited")
        data = (self.folder / name).read_bytes()
        assert old in data
        (self.folder / name).write_bytes(data.replace(old, new))
        return self.encoder()

    def install(self, package: str) -> JinaEncoder:
        """With another version of a package."""
        installed = importlib.metadata.version
        self.monkeypatch.setattr(
            importlib.metadata,
            "version",
            lambda name: "99.0" if name == package else installed(name),
        )
        return self.encoder()

    def patch(self, target: object, name: str, value: object) -> JinaEncoder:
        self.monkeypatch.setattr(target, name, value)
        return self.encoder()

    def edit_code(self, file: str, old: str, new: str) -> JinaEncoder:
        copy = shutil.copytree(jina.MODEL_CODE, self.scratch / "code")
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new))
        return self.patch(jina, "MODEL_CODE", copy)


class Field(NamedTuple):
    """The sides that a field of the fingerprint concerns, and an encoder for which it alone is another.

    It is another than that of `before`.
    """

    sides: set[str]
    changed: Callable[[Workbench], JinaEncoder]
    before: Callable[[Workbench], JinaEncoder] = Workbench.encoder


def other_weights(bench: Workbench) -> JinaEncoder:
    end = (bench.folder / "model.safetensors").read_bytes()[-8:]
    return bench.edit("model.safetensors", end, bytes(8))


def on_cuda(bench: Workbench) -> JinaEncoder:
    """Where the GPU tells nothing of itself, so that only the kind of the device is another."""
    bench.monkeypatch.setattr(jina, "rounding", lambda device: {})
    return with_gpu(bench)


def with_gpu(bench: Workbench, capability: tuple[int, int] = (9, 0), cudnn: int = 91_002):
    bench.monkeypatch.setattr(jina, "_kernels", lambda device, dtype: "torch")
    bench.monkeypatch.setattr(jina, "resolve_attention", lambda *args: "sdpa")
    bench.monkeypatch.setattr(jina, "choose_device", lambda device: "cuda:0")
    bench.monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    bench.monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    return bench.encoder(dtype="float32")


def with_flash_attn(bench: Workbench, backend: str, **versions: str) -> JinaEncoder:
    """Where that backend was resolved, and these packages have these versions."""
    installed = importlib.metadata.version
    bench.monkeypatch.setattr(jina, "resolve_attention", lambda *args: backend)
    bench.monkeypatch.setattr(
        importlib.metadata,
        "version",
        lambda name: versions.get(name.replace("-", "_")) or installed(name),
    )
    return bench.encoder()


def with_fewer_bits(bench: Workbench) -> JinaEncoder:
    """As a program has it that has told torch to multiply in TF32."""
    return bench.patch(torch, "get_float32_matmul_precision", lambda: "high")


FIELDS = {
    "code": Field(BOTH, lambda b: b.edit_code("packing.py", ".mean(1, dtype=", ".sum(1, dtype=")),
    "weights": Field(BOTH, other_weights),
    "config": Field(BOTH, lambda b: b.edit("config.json", b"Represent the", b"Represent a")),
    "dtype": Field(BOTH, lambda bench: bench.encoder(dtype="bfloat16")),
    "device": Field(BOTH, on_cuda),
    "kernels": Field(
        BOTH, lambda bench: bench.patch(jina, "_kernels", lambda device, dtype: "triton-9")
    ),
    "torch": Field(BOTH, lambda bench: bench.patch(torch, "__version__", "99.0")),
    "gpu": Field(BOTH, lambda bench: with_gpu(bench, (8, 0)), before=with_gpu),
    "cudnn": Field(BOTH, lambda bench: with_gpu(bench, cudnn=90_100), before=with_gpu),
    "float32": Field(BOTH, with_fewer_bits),
    "text.attention": Field(
        {"text"}, lambda bench: bench.patch(jina, "resolve_attention", lambda *args: "varlen")
    ),
    "text.tokenizer": Field(
        {"text"}, lambda bench: bench.edit("tokenizer.json", b'"cat"', b'"cow"')
    ),
    "text.tokenizers": Field({"text"}, lambda bench: bench.install("tokenizers")),
    "text.max_length": Field({"text"}, lambda bench: bench.encoder(max_length=77)),
    "image.preprocess": Field({"image"}, lambda bench: bench.encoder(preprocess="fast")),
    "image.compiled": Field({"image"}, lambda bench: bench.encoder(compile=True)),
    "image.config": Field(
        {"image"},
        lambda bench: bench.edit("preprocessor_config.json", b"bicubic", b"bilinear"),
    ),
    "image.pillow": Field({"image"}, lambda bench: bench.install("pillow")),
}


@pytest.fixture
def bench(checkpoint, tmp_path, monkeypatch):
    return Workbench(checkpoint, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def store(checkpoint, tmp_path_factory):
    """Where the rows of the unchanged checkpoint are."""
    filled = Store(tmp_path_factory.mktemp("store"))
    encoder = JinaEncoder(name="small", folder=checkpoint, device="cpu")
    for side in SIDES.values():
        filled.embed(encoder, side)
    return filled


def moved(store: Store, encoder: JinaEncoder) -> set[str]:
    """The sides that would be encoded again."""
    return {kind for kind, side in SIDES.items() if store.missing(encoder, side)}


def differing(before: JinaEncoder, after: JinaEncoder) -> set[str]:
    names = before.fingerprint.keys() | after.fingerprint.keys()
    return {name for name in names if before.fingerprint.get(name) != after.fingerprint.get(name)}


def test_the_table_has_every_field(bench):
    """Three of them only where they decide: the keys of a CPU stay what they were."""
    on_cpu = list(bench.encoder().fingerprint)
    assert [name for name in FIELDS if name not in ("gpu", "cudnn", "float32")] == on_cpu
    with_fewer_bits(bench)
    assert list(with_gpu(bench).fingerprint) == list(FIELDS)


def test_of_flash_attn_the_release_is_named_too(bench):
    before = with_flash_attn(bench, "flash_attn", flash_attn="2.8.3")
    after = with_flash_attn(bench, "flash_attn", flash_attn="2.9.0")
    assert before.fingerprint["text.attention"] == "flash_attn-2.8.3"
    assert differing(before, after) == {"text.attention"}


def test_of_flash_attn_4_the_release_and_its_compiler_are_named(bench):
    versions = {"flash_attn_4": "4.0.0b36", "nvidia_cutlass_dsl": "4.8.1"}
    before = with_flash_attn(bench, "flash_attn_4", **versions)
    assert before.fingerprint["text.attention"] == (
        "flash_attn_4-4.0.0b36+nvidia-cutlass-dsl-4.8.1"
    )
    for name in versions:
        after = with_flash_attn(bench, "flash_attn_4", **versions | {name: "9.0"})
        assert differing(before, after) == {"text.attention"}, name


def test_a_cpu_has_nothing_to_add_and_a_gpu_its_generation_and_cudnn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91_002)
    assert devices.rounding("cpu") == {}
    assert devices.rounding("cuda:1") == {"gpu": "sm_86", "cudnn": "91002"}


def test_the_same_checkpoint_elsewhere_is_answered_from_the_store(bench, store, tmp_path):
    assert moved(store, bench.encoder()) == set()
    bench.folder = shutil.copytree(bench.folder, tmp_path / "copy")
    assert moved(store, bench.encoder()) == set()


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_behind_a_field_moves_the_key_of_its_side_and_no_other(bench, tmp_path, name):
    field = FIELDS[name]
    before = field.before(bench)
    after = field.changed(bench)
    assert differing(before, after) == {name}
    store = Store(tmp_path / "store")
    for side in SIDES.values():
        store.embed(HashEncoder(fingerprint=before.fingerprint), side)
    assert moved(store, HashEncoder(fingerprint=after.fingerprint)) == field.sides
