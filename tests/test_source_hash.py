"""The hash of the model's code follows what it computes, not where it stands or how it is described."""

import shutil

import pytest

from evals.encoders import jina
from evals.encoders.source_hash import hash_code

LAYERS = '''
"""Layers."""
import torch
from pack.shapes import Width
SCALE: float = 2.0
def grow(x: Width, by: float = 1.0) -> Width:
    """Larger."""
    from pack.deep import thing
    total: float = x * SCALE + by  # a remark
    return total
class Layer:
    """A layer."""
    width: int
    def forward(self, x): return grow(x)
'''
TOWER = """
from pack.layers import grow
def tower(x): return grow(x)
"""


@pytest.fixture
def hash_of(tmp_path):
    def compute(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        return hash_code(sorted(folder.iterdir()), package="pack")

    return compute


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Larger."""', ""),
        ("# a remark", "# two remarks"),
        ('"""Layers."""', '"""Layers of all kinds."""'),
        ("x: Width, by: float = 1.0) -> Width:", "x, by=1.0):"),
        ("width: int", "width: float"),
        ("from pack.shapes import Width", "from pack.other import Width, Height"),
        ("    from pack.deep import thing\n", ""),
        ("import torch", "import torch\nimport torch"),
    ],
)
def test_words_about_the_code_and_our_own_imports_change_nothing(hash_of, old, new):
    assert old in LAYERS
    before = hash_of(layers=LAYERS, tower=TOWER)
    assert hash_of(layers=LAYERS.replace(old, new), tower=TOWER) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.0", "3.0"),
        ("by: float = 1.0", "by: float = 2.0"),
        ("x * SCALE + by", "x + SCALE * by"),
        ("import torch", "import numpy as torch"),
        ("    width: int\n", ""),
        ("return grow(x)", "return x"),
        (": return grow(x)", ":\n        return grow(x)\n    @property\n    def p(self): return 1"),
    ],
)
def test_what_is_computed_changes_it(hash_of, old, new):
    assert old in LAYERS
    before = hash_of(layers=LAYERS, tower=TOWER)
    assert hash_of(layers=LAYERS.replace(old, new), tower=TOWER) != before


def test_code_that_moves_to_another_file_changes_nothing(hash_of):
    definition = LAYERS[LAYERS.index("class Layer") :]
    before = hash_of(layers=LAYERS, tower=TOWER)
    there = "from pack.layers import grow\n" + definition
    assert hash_of(layers=LAYERS.replace(definition, ""), tower=TOWER, new=there) == before
    assert hash_of(layers=LAYERS + TOWER.replace("from pack.layers import grow", "")) == before


def test_code_that_means_something_else_in_its_new_file_changes_it(hash_of):
    """EPS is one number here and another one there."""
    here, there = "EPS = 1\ndef use(): return EPS\n", "EPS = 2\n"
    moved = hash_of(here="EPS = 1\n", there="EPS = 2\ndef use(): return EPS\n")
    assert hash_of(here=here, there=there) != moved
    swapped = hash_of(here=here.replace("1", "2"), there=there.replace("2", "1"))
    assert hash_of(here=here, there=there) != swapped


def test_the_fingerprint_follows_the_code_of_the_model(tmp_path, monkeypatch):
    copy = shutil.copytree(jina.MODEL_CODE, tmp_path / "jina_clip")
    monkeypatch.setattr(jina, "MODEL_CODE", copy)
    file, before = copy / "packing.py", jina._code()
    text = file.read_text()
    file.write_text("# a remark\n" + text)
    assert jina._code() == before
    file.write_text(text.replace(".mean(1, dtype=", ".sum(1, dtype="))
    assert file.read_text() != text and jina._code() != before
    file.write_text(text)
    monkeypatch.setattr(jina, "__file__", str(copy / "text.py"))
    assert jina._code() != before  # the encoder itself counts, too
