"""Whatever is done to data and configs, a reader refuses it by name or reads it, and never takes long over it."""

import io
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evals.config.catalog import Benchmark
from evals.config.models import ModelRow
from evals.config.rows import read_rows
from evals.config.suites import Suite
from evals.data.images import FORMATS, decode
from evals.reading import read_json, read_yaml
from evals.schema import Data, EvalError
from tests.doors import DOORS, ROWS, Written
from tests.faults import SEED, rounds
from tests.faults.damage import KINDS, damage
from tests.test_doors import TEXTLESS

# of metadata that is not looked at
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

ROOT = Path(__file__).parents[2]
# Doors whose files lie on the disk: a program has none, and the Hub's are damaged in
# tests/test_data_hub.py.
ON_DISK = [door for door in DOORS if door not in TEXTLESS]
CONFIGS = {
    "benchmarks": Benchmark,
    "classification": Benchmark,
    "models": ModelRow,
    "suites": Suite,
}
# Seconds of the processor that no reader may take, so that the others of the machine do not count.
# All of these inputs are small, and read in some milliseconds.
SLOW = 60.0

JSON = [
    b'{"a": 1, "a": 2}',
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"7" * 5000,
    b"[" * 100_000,
    b'{"a":' * 5_000,
    b'"\\ud800"',
    b"\x00",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b'"half',
    b"// comment",
    b"'single'",
    b"\xe2\x80\xa8",
]
YAML = [
    b"&a [x]\n",
    b"*a",
    b"a: &a [" + b"*a, " * 50 + b"]\n",
    b"!!python/object/apply:os.system [true]",
    b"!!binary AAAA",
    b"<<: {a: 1}\n",
    b"017",
    b"0x1F",
    b"1:30",
    b".nan",
    b"2026-99-99",
    b"\t- x",
    b"? [a, b]\n: c\n",
    b"---\n",
    b"%YAML 9.9\n",
    b"[" * 5_000,
    b"- " * 5_000,
    b"{a: 1, a: 2}",
    b"7" * 5000,
    b"\x00",
    b"\x85",
    b"\xff",
    b"!<tag:x> y",
    b"|9\n x",
]


@contextmanager
def refused_by(name: str, what: str) -> Iterator[list[EvalError]]:
    """Lets through what names the culprit, and nothing else; in time. The refusal is in the list."""
    refusals: list[EvalError] = []
    begin = time.thread_time()
    try:
        yield refusals
    except EvalError as error:
        assert name in str(error), f"{what}: {error}"
        refusals.append(error)
    except Exception as error:
        raise AssertionError(what) from error
    assert time.thread_time() - begin < SLOW, what


def picture(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_image_is_refused_by_name_or_whole(kind, record_property):
    whole, refused = picture(kind), 0
    cases = range(SEED, SEED + rounds(30, 300))
    for case in cases:
        rng = random.Random(case)
        damaged = rng.choice(KINDS)(whole, rng)
        with refused_by("the picture", f"seed {case}") as refusals:
            image = decode(damaged, "the picture")
            assert image.convert("RGB").tobytes()
        refused += len(refusals)
    assert refused
    record_property("faults: damaged inputs", len(cases))


@dataclass(frozen=True)
class Damaged(Written):
    """A door one of whose files is damaged after it was written."""

    rng: random.Random = field(default_factory=random.Random)

    def load(self, *arguments: Any, **named: Any) -> Data:
        files = sorted(path for path in self.root.rglob("*") if path.is_file())
        damage(self.rng.choice(files), self.rng)
        return super().load(*arguments, **named)


@pytest.mark.parametrize("door", ON_DISK)
def test_damaged_data_is_refused_by_name_or_read(door, tmp_path, hub, record_property):
    refused = 0
    cases = range(SEED, SEED + rounds(20, 300))
    for case in cases:
        root = tmp_path / str(case)
        with refused_by(str(root), f"seed {case}") as refusals:
            data = DOORS[door](Damaged(root, hub, rng=random.Random(case)), ROWS)
            assert len(data.images) and all(text.strip() for text in data.texts.items)
            for image in data.images.items:
                assert image.size
        refused += len(refusals)
    assert refused
    record_property("faults: damaged inputs", len(cases))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_damaged_config_is_refused_by_name_or_read(name, tmp_path, record_property):
    file, refused = tmp_path / f"{name}.yaml", 0
    whole = (ROOT / "configs" / file.name).read_bytes()
    cases = range(SEED, SEED + rounds(6, 300))
    for case in cases:
        file.write_bytes(whole)
        what = damage(file, random.Random(case))
        with refused_by(str(file), f"seed {case}: {what}") as refusals:
            read_rows(file, CONFIGS[name])
        refused += len(refusals)
    assert refused
    record_property("faults: damaged inputs", len(cases))


@pytest.mark.parametrize(("read", "traps"), [(read_json, JSON), (read_yaml, YAML)])
def test_a_trap_anywhere_in_a_document_is_refused_or_read_in_time(read, traps, record_property):
    whole = {
        read_json: b'{"one": [1, 2.5, "three"], "two": {"four": null, "five": "text"}}\n',
        read_yaml: b'one: [1, 2.5, "three"]\ntwo:\n  four: null\n  five: text\n',
    }[read]
    cases = range(SEED, SEED + rounds(100, 3000))
    for case in cases:
        rng = random.Random(case)
        text = whole
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(traps) + text[at:]
        with refused_by("the document", f"seed {case}"):
            read(text, "the document")
    record_property("faults: traps in JSON and YAML", len(cases))
