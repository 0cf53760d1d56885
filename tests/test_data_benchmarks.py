"""Every row of benchmarks.yaml with a repo on the Hub: its layout in miniature, under its real id and commit."""

import io
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evals.cli.app import Log
from evals.config.catalog import Benchmark, benchmarks
from evals.data import check_counts, load
from evals.data.prepare import prepare
from evals.schema import CaptionProtocol, ImageText, InvalidError, Source
from tests.hub import COMMIT, Hub
from tests.test_data_webdataset import shard

ROWS = {name: row for name, row in benchmarks().items() if row.hub and row.task == "image_text"}
Files = dict[str, bytes]


def jpeg(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(out, "JPEG")
    return out.getvalue()


IMAGES = [{"bytes": jpeg(shade), "path": f"{shade}.jpg"} for shade in range(3)]


def parquet(**columns: list) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def repo(**tables: bytes) -> Files:
    """A repo of parquet files: `<config>__<split>` of each table is declared in the README, as the Hub's own uploads do."""
    configs: dict[str, list[dict[str, str]]] = {}
    files: Files = {}
    for name, data in tables.items():
        config, split = name.replace("_of_", "-").split("__")
        files[f"{config}/{split}-00000-of-00001.parquet"] = data
        configs.setdefault(config, []).append({"split": split, "path": f"{config}/{split}-*"})
    head = json.dumps(
        [{"config_name": name, "data_files": splits} for name, splits in configs.items()]
    )
    return files | {"README.md": f"---\nconfigs: {head}\n---\n".encode()}


def captions(*counts: int, tail: str = ', a "b"') -> list[list[str]]:
    return [[f"image {i} text {n}{tail}" for n in range(count)] for i, count in enumerate(counts)]


def retrieval(texts: list[list[str]], *, prefix: str = "", **names: str) -> Files:
    """The tables of a retrieval repo; the queries are shuffled, as nothing promises their order."""
    pairs = [
        (f"q{i}-{n}", text, f"i{i}")
        for i, given in enumerate(texts)
        for n, text in enumerate(given)
    ][::-1]
    query, text, image = map(list, zip(*pairs, strict=True))
    n = len(pairs)
    return {
        f"{prefix}{names.get('corpus', 'corpus__test')}": parquet(
            id=["i0", "i1", "i2"], modality=["image"] * 3, text=[None, None, ""], image=IMAGES
        ),
        f"{prefix}{names.get('queries', 'queries__test')}": parquet(
            id=query,
            modality=["text"] * n,
            text=text,
            image=pa.array([None] * n, pa.struct({"bytes": pa.binary()})),
        ),
        f"{prefix}qrels__test": parquet(
            **{
                "query-id": query,
                "corpus-id": image,
                "score": pa.array([1] * n, pa.int8()),
                "Q0": ["Q0"] * n,
            }
        ),
    }


def flickr(row: Benchmark) -> Files:
    return repo(**retrieval(captions(5, 5, 5)))


def flickr8k(row: Benchmark) -> Files:
    columns = {f"caption_{n}": [texts[n] for texts in captions(5, 5, 5)] for n in range(5)}
    return repo(
        default__train=b"never read",
        default__validation=b"never read",
        default__test=parquet(image=IMAGES, **columns),
    )


def coco(row: Benchmark) -> Files:
    samples = {}
    for i, texts in enumerate(captions(5, 6, 7, tail="")):
        samples |= {f"s000000{i}__jpg": jpeg(i), f"s000000{i}__txt": "\n".join(texts)}
    return {
        "dataset_type.txt": b"retrieval",
        "test/nshards.txt": b"2",
        "test/0.tar": shard(**dict(list(samples.items())[:2])),
        "test/1.tar": shard(**dict(list(samples.items())[2:])),
    }


def coco_mbeir(row: Benchmark) -> Files:
    """Two images share a caption: one query with two rows of qrels."""
    tables = retrieval(captions(2, 2, 2), corpus="corpus__corpus", queries="query__test")
    qrels = pq.read_table(io.BytesIO(tables["qrels__test"])).to_pydict()
    qrels = {
        key: [*values, {"query-id": "q0-0", "corpus-id": "i2", "score": 1, "Q0": "Q0"}[key]]
        for key, values in qrels.items()
    }
    return repo(**tables | {"qrels__test": parquet(**qrels)})


def xm3600(row: Benchmark) -> Files:
    def table(language: str) -> bytes:
        texts = captions(2, 1, 3, tail=f" in {language}")
        locale = [language] * 3
        return parquet(
            image_id=["00a", "00b", "00c"],
            image_locale=locale,
            captions=texts,
            captions_tokenized=texts,
            captions_tokenized_lowercase=texts,
            image=IMAGES,
        )

    return repo(**{f"default__{language}": table(language) for language in row.subsets})


def xflickr(row: Benchmark) -> Files:
    def table(language: str) -> bytes:
        return parquet(
            sentences=captions(1, 1, 1, tail=f" in {language}"),
            id=["1", "2", "COCO_3"],
            image=IMAGES,
        )

    return repo(**{f"default__{language}": table(language) for language in row.subsets})


def multi30k(row: Benchmark) -> Files:
    tables = {}
    for language in row.subsets:
        tables |= retrieval(captions(1, 1, 1, tail=f" in {language}"), prefix=f"{language}_of_")
    return repo(**tables)


# The files of a row's repo; then how many texts three images have under the row's protocol.
MINIATURES: dict[str, tuple[Callable[[Benchmark], Files], int]] = {
    "flickr": (flickr, 15),
    "flickr-quoted": (flickr, 15),
    "flickr8k": (flickr8k, 15),
    "flickr8k-quoted": (flickr8k, 15),
    "coco": (coco, 18),
    "coco-5": (coco, 15),
    "coco-mbeir": (coco_mbeir, 6),
    "xm3600": (xm3600, 6),
    "xm3600-first": (xm3600, 3),
    "xflickr": (xflickr, 3),
    "multi30k": (multi30k, 3),
}


def subsets_of(row: Benchmark) -> tuple[str, ...]:
    """All of them in one row with 36, where a name such as `no` must be a string; a few of them in the others."""
    return row.subsets if row.name == "xm3600" else row.subsets[-4:]


def source_of(row: Benchmark, folder: Path | None = None, **protocol: object) -> Source:
    assert row.hub
    measured = CaptionProtocol(**(protocol or row.protocol.model_dump()))
    return Source(subsets_of(row), row.split, folder, row.hub.repo, row.hub.revision, measured)


def served(hub: Hub, name: str) -> tuple[Benchmark, int]:
    row, (files, texts) = ROWS[name], MINIATURES[name]
    assert row.hub
    hub.head, hub.files = row.hub.revision or COMMIT, files(row)
    return row, texts


def content(data: ImageText) -> tuple[object, ...]:
    images, texts = data.images, data.texts
    return (
        *map(list, (images.ids, images.hashes, texts.ids, texts.items)),
        data.image_of_text.tolist(),
        data.also.tolist(),
    )


def test_every_row_with_a_repo_has_a_miniature() -> None:
    assert sorted(ROWS) == sorted(MINIATURES)


@pytest.mark.parametrize("name", MINIATURES)
def test_a_row_loads_from_its_repo_at_its_commit(hub: Hub, name: str) -> None:
    row, texts = served(hub, name)
    assert row.hub
    parts = load(row.data, source_of(row))
    assert tuple(parts) == subsets_of(row)
    for subset, data in parts.items():
        assert (len(data.images), len(data.texts)) == (3, texts)
        assert check_counts(
            data, images=row.images, texts=row.count_texts(subset), allow_subset=True, name=name
        )
        assert [data.images.items[i].size for i in range(3)] == [(8, 6)] * 3
        assert (data.origin["repo"], data.origin["revision"]) == (row.hub.repo, hub.head)
        for text, image in zip(data.texts.items, data.image_of_text, strict=True):
            assert f"image {image} text" in text
            assert len(row.subsets) == 1 or text.endswith(f" in {subset}")
    assert all(row.hub.repo in path for path in hub.asked)
    with pytest.raises(InvalidError, match="Complete the data, or pass --allow-subset"):
        check_counts(
            data, images=row.images, texts=row.count_texts(subset), allow_subset=False, name=name
        )


@pytest.mark.parametrize("name", MINIATURES)
def test_a_prepared_row_measures_what_its_repo_measures(
    hub: Hub, name: str, tmp_path: Path
) -> None:
    row, _ = served(hub, name)
    row = row.model_copy(update={"subsets": row.subsets[-4:]})
    folder = tmp_path / (row.folder or row.name)
    manifest = prepare(
        row, source_of(row, captions="all"), folder, allow_subset=True, progress=Log().progress
    )
    assert row.hub and manifest.source == {
        "repo": row.hub.repo,
        "revision": hub.head,
        "split": row.split,
    }
    assert all(packed.partial for packed in manifest.subsets.values())
    images = [path for path in manifest.files if path.startswith("images/")]
    assert len(images) == 3  # once, in however many languages
    before, after = load(row.data, source_of(row)), load(row.data, source_of(row, folder))
    assert {subset: content(data) for subset, data in after.items()} == {
        subset: content(data) for subset, data in before.items()
    }


def test_the_protocols_of_the_rows_do_what_their_titles_say(hub: Hub) -> None:
    row, _ = served(hub, "flickr-quoted")
    assert load(row.data, source_of(row))["en"].texts.items[0] == '"image 0 text 4, a ""b"""'
    row, _ = served(hub, "coco-5")
    assert np.bincount(load(row.data, source_of(row))["en"].image_of_text).tolist() == [5, 5, 5]
    row, _ = served(hub, "xm3600-first")
    assert load(row.data, source_of(row))["zh"].texts.items == [
        f"image {i} text 0 in zh" for i in range(3)
    ]
    row, _ = served(hub, "coco-mbeir")
    data = load(row.data, source_of(row))["en"]
    [(text, image)] = data.also.tolist()
    assert (data.texts.items[text], data.image_of_text[text], image) == (
        'image 0 text 0, a "b"',
        0,
        2,
    )
    assert all(a != b for a, b in pairwise(sorted(data.texts.items)))
