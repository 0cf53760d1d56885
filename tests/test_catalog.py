"""The rows of configs/*.yaml: the shipped ones, and what is said about a wrong one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from evals.config.catalog import benchmark, benchmarks
from evals.config.choice import choose
from evals.config.models import ModelRef, models, resolve_model
from evals.data import LOAD
from evals.schema import ConfigError, MissingError

ROOT = Path(__file__).parents[1]

ROW = {
    "title": '"Toy"',
    "task": '"image_text"',
    "data": '"captions"',
    "subsets": '["en", "no"]',
    "split": '"test"',
    "images": "2",
    "texts": "4",
}


def write(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "rows.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def toy(tmp_path: Path, **fields: str | None) -> Path:
    row = {key: value for key, value in {**ROW, **fields}.items() if value is not None}
    return write(tmp_path, "toy:\n" + "".join(f"  {key}: {value}\n" for key, value in row.items()))


def test_the_shipped_benchmarks_are_valid_and_their_loaders_exist() -> None:
    rows = benchmarks()
    assert {
        "scenes",
        "flickr",
        "flickr8k",
        "coco",
        "xtd",
        "xtd200",
        "xm3600",
        "xm3600-first",
        "xflickr",
        "multi30k",
    } <= rows.keys()
    assert all(row.data in LOAD and row.name == name for name, row in rows.items())
    assert (rows["scenes"].subsets, rows["scenes"].images, rows["scenes"].texts) == (
        ("en", "de", "fr", "es", "zh", "ar"),
        500,
        1000,
    )
    flickr, flickr8k = rows["flickr"], rows["flickr8k"]
    assert (flickr.images, flickr.texts, flickr8k.images, flickr8k.texts) == (
        1000,
        5000,
        1000,
        5000,
    )
    assert flickr.hub and flickr.hub.revision == "e819702b287bfbe084e129a61f308a802b7c108e"
    assert flickr8k.hub and flickr8k.hub.repo == "jxie/flickr8k" and flickr8k.hub.revision is None


def test_the_shipped_models_are_valid_and_pinned() -> None:
    assert list(models())[:3] == ["tiny", "jina-clip-v1", "jina-clip-v2"]
    tiny = ModelRef("tiny", "jina_clip", ROOT / "configs/tiny", name_chosen=True)
    assert resolve_model("tiny") == tiny
    v2 = resolve_model("jina-clip-v2")
    assert (v2.folder, v2.repo, v2.revision) == (
        None,
        "jinaai/jina-clip-v2",
        "344d954da76eb8ad47a7aaff42d012e30c15b8fe",
    )


def test_a_row_is_read_and_frozen(tmp_path: Path) -> None:
    row = benchmark("toy", toy(tmp_path))
    assert (row.name, row.subsets, row.hub) == ("toy", ("en", "no"), None)
    with pytest.raises(ValidationError, match="frozen"):
        row.images = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"subsets": "[en, no, fi]"},
            r"`subsets.1` is False, which is how YAML reads a bare no.*quotes, as in \"no\"",
        ),
        ({"subsets": "[en, on]"}, r"`subsets.1` is True, .*bare yes, on or true"),
        ({"split": "no"}, "`split` is False"),
        ({"split": "2014"}, "`split` must be a string and is 2014; put it in quotes"),
        (
            {"spilt": "test"},
            "unknown key `spilt`; the keys allowed are title, task, data, subsets, split, images, texts, texts_of",
        ),
        (
            {"hub": "{repo: a/b, revision: null, rev: x}"},
            "unknown key `hub.rev`; the keys allowed are repo, revision",
        ),
        ({"images": None}, "the key `images` is missing"),
        ({"images": '"2"'}, "`images` is '2': input should be a valid integer"),
        ({"images": "2.0"}, "`images` is 2.0"),
        ({"images": "true"}, "`images` is True"),
        ({"texts": "0"}, "`texts` is 0: input should be greater than 0"),
        ({"task": '"sts"'}, "`task` is 'sts': input should be 'image_text'"),
        ({"title": '""'}, "`title` is ''"),
        ({"subsets": "[]"}, "`subsets` is "),
        ({"subsets": '"en"'}, "`subsets` is 'en'"),
        ({"subsets": '["en", "en"]'}, "a subset is listed twice"),
        ({"subsets": '["../x"]'}, "`subsets.0` is '../x'"),
        (
            {"hub": "{repo: a/b, revision: main}"},
            "`hub.revision` must be a full commit of 40 hex digits and is 'main'",
        ),
        ({"hub": "{repo: flickr, revision: null}"}, "`hub.repo` is 'flickr'"),
        ({"hub": "{repo: a/b}"}, "the key `hub.revision` is missing"),
        ({"name": '"other"'}, "without the key `name`"),
        ({"folder": '"../flickr"'}, "`folder` is '../flickr'"),
        ({"folder": '"flickr/../.."'}, "`folder` is 'flickr/../..'"),
        ({"folder": '"/flickr"'}, "`folder` is '/flickr'"),
        ({"folder": '"flickr\\n"'}, r"`folder` is 'flickr.n'"),
        ({"title": "[" + "1, " * 200 + "1]"}, r"`title` must be a string and is \[1, 1.{,100}$"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_row(
    tmp_path: Path, fields: dict[str, str | None], says: str
) -> None:
    with pytest.raises(ConfigError, match=rf"rows\.yaml, row toy: .*{says}"):
        benchmarks(toy(tmp_path, **fields))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:\n  x: 1\n  x: 2\n", "rows.yaml, line 3: the key 'x' comes twice"),
        ("a: {}\nb: {}\na: {}\n", "rows.yaml, line 3: the key 'a' comes twice"),
        ("a:\n\tx: 1\n", "rows.yaml, line 2: .*cannot start any token"),
        ("a: [1\n", "rows.yaml, line 2"),
        ("[a]: 1\n", "rows.yaml, line 1: a key must be a word"),
        ("a: !!python/object/apply:os.system [echo]\n", "line 1: the tag .* is not allowed"),
        ("- a\n", "must map row names to rows, and holds list"),
        ("", "holds NoneType"),
        ("a: 3\n", "row a: must be a mapping"),
        ("no: {}\n", "False is no name for a row"),
        ("../x: {}\n", "'../x' is no name for a row"),
        ("A b: {}\n", "'A b' is no name for a row"),
        (b"a: \xff\n", "rows.yaml, line 1: not UTF-8"),
    ],
)
def test_wrong_yaml_is_refused_by_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        benchmarks(write(tmp_path, text))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read.*EVALS_CONFIGS"):
        models(tmp_path / "nowhere.yaml")


def test_an_unknown_benchmark_gets_the_nearest_names(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"No benchmark 'flikr'. Did you mean flickr or xflickr or flickr8k\? .*--list. shows all",
    ):
        benchmark("flikr")
    for wrong, meant in (("caption:a/b", "captions:a/b"), ("c=lables:a/b", "c=labels:a/b")):
        with pytest.raises(ConfigError, match=rf"Did you mean {meant}\?$"):
            choose([wrong])
    with pytest.raises(ConfigError, match=r"No benchmark 'zzz'. .*--list. shows all"):
        benchmark("zzz", toy(tmp_path))


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "path: a\n  repo: a/b\n  revision: " + "a" * 40,
        "repo: a/b",
        "path: a\n  revision: " + "a" * 40,
    ],
)
def test_a_model_row_has_one_place(tmp_path: Path, fields: str) -> None:
    with pytest.raises(ConfigError, match="row m: needs either `path`, or `repo` with `revision`"):
        models(write(tmp_path, f'm:\n  encoder: "jina_clip"\n  {fields}\n'))


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x"])
def test_a_model_path_stays_below_the_root(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"row m: `path` is .*without `..`"):
        models(write(tmp_path, f"m: {{encoder: jina_clip, path: {path}}}\n"))


def test_a_model_is_a_row_then_a_folder_then_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write(tmp_path, "org: {encoder: jina_clip, path: a/b}\n")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("org/m", rows) == ModelRef("org--m", "jina_clip", None, "org/m")
    assert resolve_model("org/m@v1.0", rows) == ModelRef(
        "org--m@v1.0", "jina_clip", None, "org/m", "v1.0"
    )
    (tmp_path / "org" / "m").mkdir(parents=True)
    assert resolve_model("org/m", rows) == ModelRef("m", "jina_clip", Path("org/m"))
    assert resolve_model(str(tmp_path / "org"), rows).name == "org"
    assert resolve_model("org", rows).folder == ROOT / "a/b"
    for name in ("orgg", "", "a b/c"):
        with pytest.raises(ConfigError, match=r"No model .*Did you mean org"):
            resolve_model(name, rows)
    for name in ("./none", "../none", "/none", "a/b/c", "org/m@../../x"):
        with pytest.raises(MissingError, match="no such checkpoint folder"):
            resolve_model(name, rows)
    for step in ("checkpoint-2", "checkpoint-10"):
        (tmp_path / "runs" / step).mkdir(parents=True)
        (tmp_path / "runs" / step / "config.json").write_text("{}")
    os.utime(tmp_path / "runs" / "checkpoint-2" / "config.json", (1, 1))
    says = r"runs: no checkpoint itself, but a folder of 2 checkpoints. Name one, such as .*-10\."
    with pytest.raises(MissingError, match=says):
        resolve_model(str(tmp_path / "runs"), rows)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(MissingError, match=r"notes.txt: a file, where a checkpoint folder"):
        resolve_model(str(tmp_path / "notes.txt"), rows)


@pytest.mark.parametrize(
    "before", ["https://huggingface.co/", "http://www.huggingface.co/", "hf.co/"]
)
@pytest.mark.parametrize("behind", ["", "/", "/tree/main"])
def test_the_address_of_a_page_is_answered_with_its_hub_id(before: str, behind: str) -> None:
    with pytest.raises(ConfigError, match=r"page. Write its Hub id: --model org/m\.$"):
        resolve_model(f"{before}org/m{behind}")


def test_evals_configs_names_another_folder(tmp_path: Path) -> None:
    toy(tmp_path).rename(tmp_path / "benchmarks.yaml")
    program = "from evals.config.catalog import benchmarks; print(list(benchmarks()))"
    env = {"EVALS_CONFIGS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['toy']\n"
