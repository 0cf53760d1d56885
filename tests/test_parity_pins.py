"""Pinned inputs and rows: small, strict, and enough to certify a model on another machine."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from evals.embeddings.keys import canonical_json
from evals.parity.certificate import certify
from evals.parity.pinned import read_pins, role_of
from evals.parity.pins import MOST_BYTES, digest_of, export_pins, pinned_probe
from evals.parity.probe import Runner, content_of
from evals.parity.tolerances import Tolerances
from evals.schema import ConfigError, EvalError, InvalidError, MissingError
from tests.commands import run
from tests.parity_models import Server, server, tiny


@pytest.fixture(scope="module")
def pins(tmp_path_factory):
    path = tmp_path_factory.mktemp("pins") / "tiny.safetensors"
    export_pins(path, tiny())
    return path


def test_a_file_of_pins_is_small_and_the_same_every_time(pins, tmp_path):
    again = tmp_path / "again.safetensors"
    export_pins(again, tiny())
    assert pins.stat().st_size < MOST_BYTES and again.read_bytes() == pins.read_bytes()


def test_what_is_read_is_what_was_embedded(pins):
    read, probe = read_pins(pins), pinned_probe()
    assert content_of(read.probe) == content_of(probe)
    assert read.runner.encoder.fingerprint == tiny().encoder.fingerprint
    en, rows = probe.parts["en"].texts, load_file(pins)["text_rows"]
    assert np.array_equal(read.runner.rows(en), tiny().rows(en))
    assert len(rows) == 12 * 6 + len(probe.shaped["text"])


def test_the_model_passes_and_a_server_with_a_fault_does_not(pins):
    read = read_pins(pins)
    assert certify(read.probe, read.runner, tiny(), Tolerances()).verdict == "same"
    certificate = certify(read.probe, read.runner, server("no norm"), Tolerances())
    assert certificate.verdict == "differs" and certificate.causes[0].cause == "norm"


def test_what_is_wrong_with_the_model_at_hand_is_tried_with_it(pins):
    read = read_pins(pins)
    certificate = certify(read.probe, read.runner, tiny(max_length=48), Tolerances())
    # to get the owner's rows, it must be run with a longer limit
    assert certificate.verdict == "differs"
    assert certificate.causes[0].cause == "truncation"
    assert certificate.causes[0].words.startswith("B, run with texts cut at")


def test_every_changed_byte_is_found(pins, tmp_path):
    """100 places all over the file, each with another value: no case is read as if nothing were."""
    data = pins.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(len(data), size=100).tolist():
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(bytes(damaged))
        with pytest.raises(InvalidError, match="damaged"):
            read_pins(path)


def of_another_hand(pins, path, about, tensors):
    """The file with other parts, and a hash that fits them: as another version or program writes it."""
    with safe_open(pins, framework="numpy") as file:
        stated = json.loads(file.metadata()["pins"])["about"] | about
    held = load_file(pins)
    held |= {name: change(held[name]) for name, change in tensors.items()}
    whole = {"about": stated, "sha256": digest_of(canonical_json(stated), held)}
    save_file(held, path, {"pins": canonical_json(whole).decode()})
    return path


@pytest.mark.parametrize(
    ("about", "tensors", "message"),
    [
        ({"schema_version": 2, "new": 1}, {}, "written by a newer version: schema version 2.*Upgrade"),
        ({"schema_version": "1"}, {}, "schema_version: Input should be 1. Copy it again"),
        ({"new": 1}, {}, "new: Extra inputs are not permitted. Copy it again"),
        ({"texts": []}, {"text_rows": lambda rows: rows[:0]}, "holds no text"),
        ({}, {"image_ends": lambda ends: ends.astype("f4")}, "image_ends is float32, and int64 is"),
        ({}, {"text_rows": lambda rows: rows.astype("i8")}, "text_rows is int64, and float32 or"),
        ({}, {"text_rows": lambda rows: rows[:, :8].copy()}, "texts have 8 values, its images 256"),
        ({}, {"image_rows": lambda rows: rows[:, :0].copy()}, "its images 0. A model"),
        ({}, {"image_rows": lambda rows: rows * np.nan}, "are no 24 finite rows"),
    ],
)  # fmt: skip
def test_a_file_of_another_hand_is_refused_with_what_is_wrong(
    pins, tmp_path, about, tensors, message
):
    path = of_another_hand(pins, tmp_path / "other.safetensors", about, tensors)
    with pytest.raises(InvalidError, match=rf"other\.safetensors.*{message}"):
        read_pins(path)


def test_a_model_of_another_width_is_told_by_its_width(pins, tmp_path):
    def half(rows):
        return rows[:, :128].copy()

    path = of_another_hand(
        pins, tmp_path / "half.safetensors", {}, {"text_rows": half, "image_rows": half}
    )
    read = read_pins(path)
    certificate = certify(read.probe, read.runner, tiny(), Tolerances())
    assert certificate.verdict == "differs"
    # Half of a row is shorter than the row, too: both are said.
    assert "norms differ by up to" in certificate.reasons[0]
    width = "gives 128 values where the other gives 256"
    assert any(width in reason for reason in certificate.reasons)


def test_half_a_file_another_file_and_none_are_refused(pins, tmp_path):
    half = tmp_path / "half.safetensors"
    half.write_bytes(pins.read_bytes()[:1000])
    large = tmp_path / "large.safetensors"
    large.write_bytes(bytes(MOST_BYTES + 1))
    for path in (half, large):
        with pytest.raises(InvalidError):
            read_pins(path)
    from tests.parity_models import TINY

    with pytest.raises(EvalError):
        read_pins(TINY / "model.safetensors")
    with pytest.raises(MissingError):
        read_pins(tmp_path / "none.safetensors")


def test_wide_rows_are_kept_in_half_the_bytes_or_refused(tmp_path):
    def random(width):
        model = Server(
            lambda texts: np.random.default_rng(0).normal(size=(len(texts), width)),
            lambda images: np.random.default_rng(1).normal(size=(len(images), width)),
        )
        model.dim = width
        return Runner("wide", model)

    path = tmp_path / "wide.safetensors"
    export_pins(path, random(2560))
    assert load_file(path)["text_rows"].dtype == np.float16
    assert read_pins(path).runner.encoder.dim == 2560
    with pytest.raises(ConfigError, match="--export: the rows of wide have 8,192 values"):
        export_pins(path, random(8192))


def test_texts_have_the_role_again_that_they_had(tmp_path):
    path = tmp_path / "queries.safetensors"
    done = run("tiny", "--export", path, "--a", "role=query", "--json", module="evals.parity", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout)["bytes"] == path.stat().st_size
    assert role_of(path) == "query"
    done = run("tiny", "--check", path, "--json", module="evals.parity", cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["verdict"] == "same"
