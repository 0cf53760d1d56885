"""Each field of the fingerprint of objects and of rows that a program holds: what it stands for moves the key."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from evals.embeddings.store import Store
from evals.encoders.objects import ArrayEncoder, ObjectEncoder
from evals.schema import ConfigError, Side
from tests.toys import HashEncoder, text_side

SIDES = {"text": text_side(["a cat"]), "image": Side("image", ["picture"], ["i0"], ["0" * 64])}
BOTH = {"text", "image"}
WORDS = text_side(["a cat", "a dog"])


class Lengths(torch.nn.Module):
    """Rows from the lengths of items; a layer that has dtype and device."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 4)

    def encode(self, items: list[object]) -> np.ndarray:
        return np.array([[len(str(item)), 1.0] for item in items])


class Sized(Lengths):
    """Another class of the same weights."""


class Prompted(Lengths):
    """Queries and documents are told apart, as by sentence-transformers."""

    def encode_query(self, items: list[str]) -> np.ndarray:
        return self.encode([f"query: {item}" for item in items])

    def encode_document(self, items: list[str]) -> np.ndarray:
        return self.encode(items)


class Bench:
    """A model and an installation that a test may change before the encoder is made."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.model: Lengths = Lengths()
        self.weights = "step-500"
        self.patch = patch

    def encoder(self) -> ObjectEncoder:
        return ObjectEncoder(self.model, name="object", weights=self.weights)

    def of(self, model: Lengths) -> ObjectEncoder:
        self.model = model
        return self.encoder()

    def trained(self) -> ObjectEncoder:
        self.weights = "step-1000"
        return self.encoder()

    def install(self, package: str) -> ObjectEncoder:
        installed = importlib.metadata.version
        self.patch.setattr(
            importlib.metadata,
            "version",
            lambda name: "99.0" if name == package else installed(name),
        )
        return self.encoder()

    def with_value(self, target: object, name: str, value: object) -> ObjectEncoder:
        self.patch.setattr(target, name, value)
        return self.encoder()

    def with_gpu(self, capability: tuple[int, int] = (9, 0), cudnn: int = 91_002) -> ObjectEncoder:
        self.patch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        self.patch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
        self.patch.setattr(Lengths, "parameters", lambda model: [OnCuda()])
        return self.encoder()


class OnCuda:
    """A parameter as a GPU has one."""

    device = torch.device("cuda:0")
    dtype = torch.float32


class Field(NamedTuple):
    """The sides that a field concerns, and an encoder for which it alone is another than before."""

    sides: set[str]
    changed: Callable[[Bench], ObjectEncoder]
    before: Callable[[Bench], ObjectEncoder] = Bench.encoder


def without_gpu_entries(bench: Bench) -> ObjectEncoder:
    bench.patch.setattr("evals.encoders.devices.rounding", lambda device: {})
    return bench.with_gpu()


FIELDS = {
    "weights": Field(BOTH, Bench.trained),
    "object": Field(BOTH, lambda bench: bench.of(Sized())),
    "dtype": Field(BOTH, lambda bench: bench.of(Lengths().half())),
    "device": Field(BOTH, without_gpu_entries),
    "torch": Field(BOTH, lambda bench: bench.with_value(torch, "__version__", "99.0")),
    "gpu": Field(BOTH, lambda bench: bench.with_gpu((8, 0)), before=Bench.with_gpu),
    "cudnn": Field(BOTH, lambda bench: bench.with_gpu(cudnn=90_100), before=Bench.with_gpu),
    "float32": Field(
        BOTH,
        lambda bench: bench.with_value(torch, "get_float32_matmul_precision", lambda: "high"),
    ),
    "image.pillow": Field({"image"}, lambda bench: bench.install("pillow")),
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def differing(before: ObjectEncoder, after: ObjectEncoder) -> set[str]:
    names = before.fingerprint.keys() | after.fingerprint.keys()
    return {name for name in names if before.fingerprint.get(name) != after.fingerprint.get(name)}


def test_the_table_has_every_field(bench: Bench) -> None:
    bench.patch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert list(bench.with_gpu().fingerprint) == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_behind_a_field_moves_the_key_of_its_side_and_no_other(
    bench: Bench, tmp_path: Path, name: str
) -> None:
    field = FIELDS[name]
    before = field.before(bench)
    after = field.changed(bench)
    assert differing(before, after) == {name}
    store = Store(tmp_path)
    for side in SIDES.values():
        store.embed(HashEncoder(fingerprint=before.fingerprint), side)
    probe = HashEncoder(fingerprint=after.fingerprint)
    assert {kind for kind, side in SIDES.items() if store.missing(probe, side)} == field.sides


def test_of_an_object_that_is_no_module_only_what_is_said_is_known() -> None:
    class Plain:
        def encode(self, items: list[object]) -> list[list[float]]:
            return [[1.0, 2.0] for _ in items]

    encoder = ObjectEncoder(Plain(), name="plain", weights=None)
    assert set(encoder.fingerprint) == {"object", "image.pillow"}


def test_a_role_picks_the_method_of_the_object() -> None:
    """An instruction that the object gives to queries is given, and one that it cannot give refused."""
    encoder = ObjectEncoder(Prompted(), name="prompted", weights="1")
    plain, query, document = (
        encoder.encode(text_side(WORDS.items, role)) for role in (None, "query", "document")
    )
    np.testing.assert_array_equal(query[:, 0], plain[:, 0] + len("query: "))
    np.testing.assert_array_equal(document, plain)
    image = Side("image", ["picture"], ["i0"], ["0"], "document")
    assert ObjectEncoder(Lengths(), name="x", weights="1").encode(image).shape == (1, 2)
    with pytest.raises(ConfigError, match=r"x has no encode_query, .* Leave instruction=True out"):
        ObjectEncoder(Lengths(), name="x", weights="1").encode(text_side(WORDS.items, "query"))


def rows_encoder(images: int, values: float = 0.0) -> ArrayEncoder:
    rows = np.arange(8.0).reshape(4, 2) + values
    parts = {"image": rows[:images], "text": rows[images:]}
    ids = {kind: [f"{kind} {place}" for place in range(len(part))] for kind, part in parts.items()}
    return ArrayEncoder(parts, ids, name="rows")


def test_rows_are_known_by_their_values_and_where_those_of_images_end() -> None:
    identities = [rows_encoder(2), rows_encoder(3), rows_encoder(2, values=1.0)]
    assert len({encoder.fingerprint["weights"] for encoder in identities}) == 3
    assert rows_encoder(2).fingerprint == identities[0].fingerprint
    assert set(identities[0].fingerprint) == {"weights", "object"}
