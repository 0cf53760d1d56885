"""Pinned inputs and rows: small, strict, and enough to certify a model on another machine."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from evals.parity.certificate import certify
from evals.parity.pins import MOST_BYTES, export_pins, pinned_probe, read_pins, role_of
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
