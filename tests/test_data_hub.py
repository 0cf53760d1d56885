"""The Hub loaders against a Hub on loopback that serves the API paths huggingface_hub asks for."""

import io
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from PIL import Image

from evals.data import LOAD
from evals.data import load as load_subsets
from evals.hub import reason_of
from evals.schema import CaptionProtocol, ConfigError, ImageText, InvalidError, MissingError, Source
from tests.hub import COMMIT, OLDER, Hub, use


def jpeg(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(out, "JPEG")
    return out.getvalue()


def parquet(**columns: list) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def pictures(*shades: int) -> list[dict]:
    return [{"bytes": jpeg(shade), "path": None} for shade in shades]


def readme(**configs: dict[str, str]) -> bytes:
    rows = [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": path} for split, path in files.items()],
        }
        for name, files in configs.items()
    ]
    return f"---\nconfigs: {json.dumps(rows)}\n---\n# A repo\n".encode()


CAPTIONS = {
    "README.md": readme(default={"train": "data/train-*", "test": "data/test-*"}),
    "data/train-00000-of-00001.parquet": b"never read",
    "data/test-00000-of-00002.parquet": parquet(
        image=pictures(1, 2), caption_0=["a", "b"], caption_1=["c", None]
    ),
    "data/test-00001-of-00002.parquet": parquet(
        image=pictures(3), caption_0=["d"], caption_1=["e"]
    ),
}
RETRIEVAL = {
    "README.md": readme(
        corpus={"test": "corpus/test-*"},
        queries={"test": "queries/test-*"},
        default={"test": "data/test-*", "dev": "data/dev-*"},
    ),
    "corpus/test-00000-of-00001.parquet": parquet(
        id=["i0", "i1"], image=pictures(1, 2), modality=["image"] * 2
    ),
    "queries/test-00000-of-00001.parquet": parquet(
        id=["q0", "q1", "q2", "q3"],
        text=["two", "one", "also two", "unpaired"],
        modality=["text"] * 4,
    ),
    "data/test-00000-of-00001.parquet": parquet(
        **{
            "query-id": ["q0", "q1", "q2", "q3"],
            "corpus-id": ["i1", "i0", "i1", "i0"],
            "score": [1, 1, 1, 0],
        }
    ),
}


def load(loader: str, source: Source) -> ImageText:
    """The one subset of the source."""
    [data] = load_subsets(loader, source).values()
    return data


def hub_source(revision: str | None = COMMIT, split: str = "test", subset: str = "en") -> Source:
    return Source((subset,), split, repo="org/set", revision=revision)


def pairs(data: ImageText) -> list[tuple[str, str]]:
    return [
        (data.images.ids[i], text)
        for i, text in zip(data.image_of_text, data.texts.items, strict=True)
    ]


def test_captions_come_in_the_order_of_the_rows_with_the_commit_recorded(hub: Hub) -> None:
    hub.files = CAPTIONS
    data = load("hub_captions", hub_source(revision=None))
    assert pairs(data) == [("0", "a"), ("0", "c"), ("1", "b"), ("2", "d"), ("2", "e")]
    assert data.texts.ids[:3] == ["0#0", "0#1", "1#0"]
    assert data.images.hashes == [sha256(jpeg(shade)).hexdigest() for shade in (1, 2, 3)]
    assert data.images.items[2].size == (8, 6)
    assert data.origin == {
        "layout": "hub_captions",
        "split": "test",
        "repo": "org/set",
        "revision": COMMIT,
    }


def test_only_the_split_that_is_asked_for_is_downloaded(hub: Hub) -> None:
    hub.files = CAPTIONS
    load("hub_captions", hub_source())
    assert not [path for path in hub.asked if "train" in path]


@pytest.mark.parametrize("column", ["captions", "caption", "text"])
def test_a_list_column_and_a_split_column_are_understood(hub: Hub, column: str) -> None:
    table = parquet(
        image=pictures(1, 2),
        filename=["x.jpg", "y.jpg"],
        split=["train", "test"],
        **{column: [["a"], ["b", "c"]]},
    )
    hub.files = {"test.parquet": table}
    assert pairs(load("hub_captions", hub_source())) == [("y.jpg", "b"), ("y.jpg", "c")]


def test_retrieval_pairs_queries_with_corpus_images_by_positive_qrels(hub: Hub) -> None:
    hub.files = RETRIEVAL
    data = load("hub_retrieval", hub_source())
    assert pairs(data) == [("i0", "one"), ("i1", "two"), ("i1", "also two")]
    assert data.images.hashes[1] == sha256(jpeg(2)).hexdigest()
    assert data.origin["revision"] == COMMIT


def test_retrieval_reads_the_mbeir_names_and_language_prefixes(hub: Hub) -> None:
    files = {
        name.replace("queries/", "query/").replace("data/", "qrels/"): data
        for name, data in RETRIEVAL.items()
    }
    hub.files = files | {
        "README.md": readme(
            corpus={"corpus": "corpus/*"}, query={"test": "query/*"}, qrels={"test": "qrels/*"}
        ),
    }
    assert len(load("hub_retrieval", hub_source()).texts) == 3
    german = {
        "de-corpus": {"test": "corpus/*"},
        "de-queries": {"test": "queries/*"},
        "de-qrels": {"test": "data/*"},
    }
    hub.head, hub.files = OLDER, RETRIEVAL | {"README.md": readme(**german)}
    assert len(load("hub_retrieval", hub_source(OLDER, subset="de")).texts) == 3
    with pytest.raises(InvalidError, match="no config 'corpus' among de-corpus"):
        load("hub_retrieval", hub_source(OLDER, subset="fr"))


@pytest.mark.parametrize(
    ("query", "corpus", "says"),
    [
        (["q0", "q1"], ["i0", "i9"], "image i9 of text q1 is not in the corpus"),
        (["q0", "q9"], ["i0", "i1"], "text q9 is not among the queries"),
        (["q0", "q1"], ["i0", "i0"], "image 'i1' has no captions"),
    ],
)
def test_qrels_that_do_not_fit_are_refused(
    hub: Hub, query: list[str], corpus: list[str], says: str
) -> None:
    hub.files = RETRIEVAL | {
        "data/test-00000-of-00001.parquet": parquet(
            **{"query-id": query, "corpus-id": corpus, "score": [1, 1]}
        )
    }
    with pytest.raises(InvalidError, match=says):
        load("hub_retrieval", hub_source())


@pytest.mark.parametrize("score", [math.nan, math.inf, "1"])
def test_a_score_that_is_no_finite_number_is_refused(hub: Hub, score: object) -> None:
    """NaN is not above 0: the pair would be left out in silence."""
    columns = {"query-id": ["q0"], "corpus-id": ["i0"], "score": [score]}
    hub.files = RETRIEVAL | {"data/test-00000-of-00001.parquet": parquet(**columns)}
    with pytest.raises(InvalidError, match=r"qrels, row 0: the score is .*, not a finite number"):
        load("hub_retrieval", hub_source())


def test_a_query_of_several_images_is_a_caption_of_each_or_merged_into_one(hub: Hub) -> None:
    columns = {"query-id": ["q0", "q0", "q1"], "corpus-id": ["i0", "i1", "i1"], "score": [1, 1, 1]}
    hub.files = RETRIEVAL | {"data/test-00000-of-00001.parquet": parquet(**columns)}
    assert pairs(load("hub_retrieval", hub_source())) == [
        ("i0", "two"),
        ("i1", "two"),
        ("i1", "one"),
    ]
    merged = load(
        "hub_retrieval", replace(hub_source(), protocol=CaptionProtocol(duplicates="merged"))
    )
    assert (pairs(merged), merged.also.tolist()) == ([("i0", "two"), ("i1", "one")], [[0, 1]])


@pytest.mark.parametrize(("part", "what"), [("corpus", "image"), ("queries", "text")])
def test_an_id_that_comes_twice_is_refused(hub: Hub, part: str, what: str) -> None:
    columns = {"image": pictures(1, 2)} if part == "corpus" else {"text": ["x", "y"]}
    hub.files = RETRIEVAL | {
        f"{part}/test-00000-of-00001.parquet": parquet(_id=["q0", "q0"], **columns)
    }
    with pytest.raises(
        InvalidError, match=rf"{what} row 1: {what} 'q0' is listed at .*, {what} row 0 too"
    ):
        load("hub_retrieval", hub_source())


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"image": pictures(1), "label": [3]}, "no column caption_0, captions"),
        ({"captions": [["a"]]}, "no column `image` of encoded images"),
        (
            {"image": [{"bytes": None, "path": "x.jpg"}, *pictures(1)], "captions": [["a"], ["b"]]},
            "image '0' is empty",
        ),
        (
            {"image": pictures(1), "captions": [[7]]},
            "row 0, column captions: .* is neither a string",
        ),
        ({"image": pictures(1), "captions": [[" "]]}, "caption 0 of image '0' is empty"),
        ({"image": pictures(1), "captions": [[]]}, "image '0' has no captions"),
        (
            {"image": pictures(1, 2), "id": [5, 5], "captions": [["a"], ["b"]]},
            "image '5' is listed",
        ),
        (
            {"image": pictures(1), "id": [1.0], "captions": [["a"]]},
            "row 0, column id: the id is a f",
        ),
        ({"image": pictures(1), "id": [None], "captions": [["a"]]}, "column id: the id is null"),
        ({"image": pictures(1), "captions": [[None]]}, "is neither a string nor a list"),
        ({"image": pictures(1), "captions": [None]}, "None is neither a string nor a list"),
        (
            {"image": pictures(1), "caption": pa.array([b"caf\xe9"]).cast("string", safe=False)},
            "not readable as parquet .*UTF8",
        ),
    ],
)
def test_tables_that_are_no_captioned_images_are_refused(
    hub: Hub, columns: dict[str, list], says: str
) -> None:
    hub.files = {"test.parquet": parquet(**columns)}
    with pytest.raises(InvalidError, match=says):
        load("hub_captions", hub_source())


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("loader", ["hub_captions", "hub_retrieval", "captions"])
def test_no_access_names_the_repo_and_three_ways_at_once(
    hub: Hub, status: int, loader: str
) -> None:
    hub.status = status
    with pytest.raises(
        MissingError,
        match=rf"org/set at {COMMIT}.*answers {status}.*HF_TOKEN.*--data.*HF_HUB_OFFLINE",
    ):
        load(loader, hub_source())
    assert len(hub.asked) == 1


def test_no_server_is_told_without_a_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The downloads of huggingface_hub would ask again for 23 seconds, and sleep between."""
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    for revision in (None, COMMIT):
        with pytest.raises(MissingError, match=r"org/set at .* cannot be reached .*--data"):
            load("hub_captions", hub_source(revision))
    assert waits == []


def test_credentials_in_a_url_stay_out_of_the_message() -> None:
    assert (
        reason_of(OSError("no https://user:secret@host/x\nmore"))
        == "the Hub cannot be reached (no https://host/x)"
    )


def test_an_answer_that_is_not_the_hubs_is_missing_data(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        json, "dumps", lambda value: "<html>Please sign in to the guest network</html>"
    )
    with pytest.raises(MissingError, match="cannot be reached"):
        load("hub_captions", hub_source())


def test_a_busy_hub_is_asked_again(hub: Hub) -> None:
    hub.files, hub.busy = CAPTIONS, 2
    assert len(load("hub_captions", hub_source()).images) == 3


def test_a_download_that_breaks_off_is_taken_up_again(hub: Hub) -> None:
    hub.files, hub.cut = CAPTIONS, 1
    data = load("hub_captions", hub_source())
    assert hub.cut == 0
    assert data.images.hashes == [sha256(jpeg(shade)).hexdigest() for shade in (1, 2, 3)]


def test_a_filled_cache_serves_when_the_hub_is_gone(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.files = CAPTIONS
    before = load("hub_captions", hub_source(None))
    hub.status = 404
    assert load("hub_captions", hub_source(None)).images.hashes == before.images.hashes
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "hub")
    assert load("hub_captions", hub_source(COMMIT)).images.hashes == before.images.hashes
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = load("hub_captions", hub_source(None))
    assert (again.images.hashes, again.origin) == (before.images.hashes, before.origin)


def test_another_commit_in_the_cache_never_stands_in(hub: Hub) -> None:
    hub.files = CAPTIONS
    load("hub_captions", hub_source(None))
    hub.status = 404
    with pytest.raises(MissingError, match=f"org/set at {OLDER}"):
        load("hub_captions", hub_source(OLDER))


def test_a_missing_shard_in_the_cache_is_not_a_smaller_benchmark(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files = CAPTIONS
    load("hub_captions", hub_source())
    # A cache that was filled by an older huggingface_hub has no trees/: nothing tells it which files there should be.
    shutil.copytree(
        tmp_path / "hub", tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("trees")
    )
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "copy")
    assert len(load("hub_captions", hub_source()).images) == 3
    next((tmp_path / "copy").rglob("test-00001-of-00002.parquet")).unlink()
    with pytest.raises(MissingError, match=r"org/set at .* the Hub cache does not hold it"):
        load("hub_captions", hub_source())


def test_a_flipped_byte_in_the_cache_is_found(hub: Hub, tmp_path: Path) -> None:
    hub.files = CAPTIONS
    load("hub_captions", hub_source())
    blob = next((tmp_path / "hub").rglob("test-00000-of-00002.parquet")).resolve()
    data = bytearray(blob.read_bytes())
    data[20] ^= 1
    blob.write_bytes(bytes(data))
    with pytest.raises(InvalidError, match=r"test-00000-of-00002.parquet: damaged.*Delete"):
        load("hub_captions", hub_source())


def test_a_file_that_is_no_parquet_is_named(hub: Hub) -> None:
    hub.files = {"test.parquet": b"PAR1 but not really PAR1"}
    with pytest.raises(InvalidError, match=r"test.parquet: not readable as parquet"):
        load("hub_captions", hub_source())


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"a: &x [1]\nb: *x", "README.md, line 3: the alias .x is not allowed"),
        (b"configs: 3", "the configs in its YAML head cannot be read"),
        (b"configs: [{config_name: a, data_files: []}]", "the configs in its YAML head cannot"),
        (b"configs:\n- {data_files: x}", "the configs in its YAML head cannot be read"),
        (b"a: caf\xe9", "README.md, line 2: not UTF-8"),
    ],
)
def test_a_readme_that_cannot_be_meant_is_told(hub: Hub, head: bytes, says: str) -> None:
    hub.files = CAPTIONS | {"README.md": b"---\n" + head + b"\n---\n"}
    with pytest.raises(InvalidError, match=says):
        load("hub_captions", hub_source())


def test_a_repo_without_the_split_is_told(hub: Hub) -> None:
    hub.files = CAPTIONS
    with pytest.raises(
        ConfigError, match="no split 'val' in config 'default', which has train, test"
    ):
        load("hub_captions", hub_source(split="val"))
    hub.head, hub.files = OLDER, {"validation.parquet": b""}
    with pytest.raises(MissingError, match="no parquet file matches test-"):
        load("hub_captions", hub_source(OLDER))


def test_a_folder_goes_before_the_hub(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(9))
    (tmp_path / "captions.jsonl").write_text('{"image": "a.jpg", "captions": ["nine"]}\n')
    source = Source(("en",), "test", folder=tmp_path, repo="org/set", revision=COMMIT)
    for loader in LOAD.keys() - {"scenes"}:
        assert load(loader, source).texts.items == ["nine"]
    assert hub.asked == []


def test_neither_folder_nor_repo_names_the_three_ways() -> None:
    with pytest.raises(MissingError, match=r"\(1\).*\(2\).*\(3\)"):
        load("captions", Source(("en",), "test"))


def test_the_environment_variables_people_set_are_enough(hub: Hub, tmp_path: Path) -> None:
    hub.files = CAPTIONS
    program = (
        "import sys\nfrom evals.data import load\nfrom evals.schema import Source\n"
        f"print(load('captions', Source(('en',), 'test', repo='org/set', revision={COMMIT!r}))['en'].texts.items)\n"
        "print([m for m in ('torch', 'datasets', 'PIL', 'pandas') if m in sys.modules])"
    )
    for extra in ({"HF_ENDPOINT": hub.url}, {"HF_HUB_OFFLINE": "1"}):
        env = (
            {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
            | {"HF_HOME": str(tmp_path / "home")}
            | extra
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stdout == "['a', 'c', 'b', 'd', 'e']\n[]\n", done.stderr
