"""Other packages bring encoders and formats of data, and rows of one's own stand in configs/local."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from evals.config.catalog import benchmarks
from evals.config.choice import choose
from evals.config.models import models, resolve_model
from evals.config.plugins import ENCODERS, plugins
from evals.evaluation.plugged import Plugged
from evals.paths import bundled
from evals.schema import ConfigError, InvalidError
from tests import commands

MODULE = '''
import numpy as np
from evals.data.images import Pictures
from evals.data.sides import image_side, text_side
from evals.schema import ImageText


class Lengths:
    """A row per item: its content hash, spread over four values."""

    def __init__(self, spec, name):
        self.name, self.dim = name, 4
        self.fingerprint = {"weights": spec}

    def encode(self, side):
        rows = [[int(h[i : i + 4], 16) / 65536 - 0.5 for i in range(0, 16, 4)] for h in side.hashes]
        return np.array(rows, dtype=np.float32)


def load(source):
    from PIL import Image

    images = [Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(3)]
    texts = [f"{source.folder.name} {i}" for i in range(3)]
    ids = ["a", "b", "c"]
    sides = image_side(Pictures(images, ids), ids), text_side(texts, ids)
    return {"en": ImageText(*sides, np.arange(3), {"format": "toy"})}
'''
ROW = """
birds:
  title: Birds
  task: image_text
  data: toy_format
  subsets: [en]
  split: test
  images: 3
  texts: 3
mine:
  encoder: toy
  spec: v1
elsewhere:
  encoder: jina_clip
  path: /models/elsewhere
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small installed distribution with one encoder and one loader."""
    site = tmp_path / "site"
    info = site / "toy_plugin-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plugin\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[jina_clip_evals.encoders]\ntoy = toy_plugin_module:Lengths\n"
        "[jina_clip_evals.data]\ntoy_format = toy_plugin_module:load\n"
    )
    (site / "toy_plugin_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("toy_plugin_module", None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configs with a file of one's own in its `local`."""
    configs = tmp_path / "configs"
    (configs / "local").mkdir(parents=True)
    for file in bundled().glob("*.yaml"):
        shutil.copy(file, configs)
    monkeypatch.setenv("EVALS_CONFIGS", str(configs))
    return configs


def test_a_plug_in_of_another_package_is_measured_under_rows_of_ones_own(
    package: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "local" / "mine.yaml").write_text(ROW)
    where = ["--results", tmp_path / "runs", "--store", tmp_path / "store", "--json"]
    (tmp_path / "photos").mkdir()
    arguments = ["birds", "--data", tmp_path / "photos", "--model", "mine", *where]
    done = commands.run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [run] = json.loads(done.stdout)["runs"]
    manifest = json.loads((Path(run["path"]) / "manifest.json").read_text())
    assert (run["benchmark"], run["model"]) == ("birds", "mine")
    assert manifest["encoder"]["fingerprint"]["plugin"] == "toy-plugin 1.2"
    # and by its name on the command line
    reference = resolve_model("toy:v2")
    assert (reference.encoder, reference.spec, reference.name) == ("toy", "v2", "toy-v2")
    # which a slip of the pen is answered with
    for slip in ("toy", "tyo:v2"):
        with pytest.raises(ConfigError, match=r"or open_clip:….*, toy:…\.$"):
            resolve_model(slip)


def test_rows_of_configs_local_stand_among_the_others(package: Path, folder: Path) -> None:
    (folder / "local" / "mine.yaml").write_text(ROW)
    assert "birds" in benchmarks() and "scenes" in benchmarks()
    assert str(models()["elsewhere"].path) == "/models/elsewhere"
    assert choose(["birds"]).work == [benchmarks()["birds"]]


@pytest.mark.parametrize(
    ("row", "read"),
    [("scenes:\n  title: x\n", benchmarks), ("tiny:\n  encoder: api\n  spec: x\n", models)],
)
def test_a_name_that_exists_is_refused_with_both_files(folder: Path, row: str, read) -> None:
    full = row if read is models else ROW.partition("mine:")[0].replace("birds", "scenes")
    (folder / "local" / "mine.yaml").write_text(full)
    with pytest.raises(ConfigError, match=r"local/mine\.yaml, row \w+: \S+\.yaml has a row of"):
        read()


def test_a_plug_in_that_takes_a_name_of_ours_or_of_another_is_refused(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plugins(ENCODERS, ["api"])["toy"].package == "toy-plugin 1.2"
    with pytest.raises(ConfigError, match=r"toy-plugin 1\.2 brings toy .*has itself"):
        plugins(ENCODERS, ["toy"])
    second = package.parent / "second" / "other-2.dist-info"
    second.mkdir(parents=True)
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2\n")
    (second / "entry_points.txt").write_text("[jina_clip_evals.encoders]\ntoy = x:Y\n")
    monkeypatch.syspath_prepend(str(second.parent))
    with pytest.raises(ConfigError, match="both bring toy"):
        plugins(ENCODERS, [])


def test_what_a_plug_in_makes_must_be_an_encoder() -> None:
    class Half:
        name = "half"
        dim = 4

    class Blank(Half):
        fingerprint: Mapping[str, str] = MappingProxyType({})

        def encode(self, side: object) -> None: ...

    with pytest.raises(InvalidError, match="has no fingerprint, encode"):
        Plugged(Half(), "p 1")
    with pytest.raises(InvalidError, match="fingerprint of its encoder is empty"):
        Plugged(Blank(), "p 1")


def test_an_unknown_name_is_answered_with_the_nearest_three_and_the_way_to_ones_own() -> None:
    with pytest.raises(ConfigError) as of_benchmark:
        choose(["flickr8"])
    with pytest.raises(ConfigError) as of_model:
        resolve_model("jina-v3")
    for error, nearest in ((of_benchmark, "flickr8k"), (of_model, "jina-clip-v")):
        text = str(error.value)
        assert nearest in text and text.count(" or ") >= 2
        assert "own" in text and len(text) < 450
