"""Writers of the same photographs and captions, one per layout of evals.data.layouts and per kind of object."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq


class Photo(NamedTuple):
    """A photograph: the name and bytes of its file, and its captions."""

    name: str
    data: bytes
    captions: Sequence[str]


Photos = Sequence[Photo]
Write = Callable[[Path, Photos], Any]


def images(root: Path, photos: Photos, folder: str = "images") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for photo in photos:
        (root / folder / photo.name).write_bytes(photo.data)


def lines(file: Path, entries: Sequence[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def long_rows(photos: Photos) -> list[tuple[Photo, str]]:
    """A row per caption, as most tables have them."""
    return [(photo, caption) for photo in photos for caption in photo.captions]


def table(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]], sign: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=sign).writerows([header, *rows])


def jsonl(root: Path, photos: Photos) -> None:
    images(root, photos)
    lines(
        root / "captions.jsonl",
        [{"image": photo.name, "captions": list(photo.captions)} for photo in photos],
    )


def jsonl_caption(root: Path, photos: Photos) -> None:
    images(root, photos)
    lines(
        root / "mine.jsonl",
        [{"image": photo.name, "caption": list(photo.captions)} for photo in photos],
    )


def csv_table(root: Path, photos: Photos) -> None:
    images(root, photos)
    rows = [(f"images/{photo.name}", caption) for photo, caption in long_rows(photos)]
    table(root / "captions.csv", ("image", "caption"), rows, ",")


def tsv_table(root: Path, photos: Photos) -> None:
    images(root, photos)
    rows = [(str(n), photo.name, caption) for n, (photo, caption) in enumerate(long_rows(photos))]
    table(root / "photos.tsv", ("nr", "path", "text"), rows, "\t")


def kaggle(root: Path, photos: Photos) -> None:
    images(root, photos, "Images")
    rows = [(photo.name, caption) for photo, caption in long_rows(photos)]
    table(root / "captions.txt", ("image", "caption"), rows, ",")


def json_table(root: Path, photos: Photos) -> None:
    images(root, photos)
    entries = [{"image": f"images/{p.name}", "caption": list(p.captions)} for p in photos]
    (root / "coco_karpathy_test.json").write_text(json.dumps(entries))


def lines_table(root: Path, photos: Photos) -> None:
    images(root, photos)
    lines(root / "all.jsonl", [{"img": p.name, "sentences": list(p.captions)} for p in photos])


def metadata_csv(root: Path, photos: Photos) -> None:
    images(root, photos, "train")
    rows = [(photo.name, caption) for photo, caption in long_rows(photos)]
    table(root / "train" / "metadata.csv", ("file_name", "text"), rows, ",")


def metadata_jsonl(root: Path, photos: Photos) -> None:
    images(root, photos, ".")
    lines(
        root / "metadata.jsonl", [{"file_name": p.name, "text": list(p.captions)} for p in photos]
    )


def metadata_parquet(root: Path, photos: Photos) -> None:
    images(root, photos, ".")
    columns = {"file_name": [p.name for p in photos], "text": [list(p.captions) for p in photos]}
    pq.write_table(pa.table(columns), root / "metadata.parquet")


def hub_parquet(root: Path, photos: Photos) -> None:
    (root / "data").mkdir(parents=True)
    half = len(photos) // 2
    for number, part in enumerate((photos[:half], photos[half:])):
        columns = {
            "image": [{"bytes": p.data, "path": p.name} for p in part],
            "captions": [list(p.captions) for p in part],
            "license": ["CC0"] * len(part),
        }
        file = root / "data" / f"test-{number:05d}-of-00002.parquet"
        pq.write_table(pa.table(columns), file)


def long_parquet(root: Path, photos: Photos) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rows = long_rows(photos)
    columns = {"jpg": [p.data for p, _ in rows], "caption": [caption for _, caption in rows]}
    pq.write_table(pa.table(columns), root / "rows.parquet")


def numbered_parquet(root: Path, photos: Photos) -> None:
    root.mkdir(parents=True, exist_ok=True)
    most = max(len(p.captions) for p in photos)
    columns: dict[str, list[Any]] = {"image": [p.data for p in photos]}
    for number in range(most):
        columns[f"caption_{number}"] = [
            p.captions[number] if number < len(p.captions) else None for p in photos
        ]
    pq.write_table(pa.table(columns), root / "rows.parquet")


def dataset(photos: Photos, *, shuffled: bool = False) -> Any:
    """A Dataset; `shuffled` has its rows in another order below a mapping of indices."""
    import datasets

    order = list(range(len(photos)))[::-1] if shuffled else list(range(len(photos)))
    stored = [photos[place] for place in order]
    features = datasets.Features(
        {"image": datasets.Image(), "captions": datasets.List(datasets.Value("string"))}
    )
    rows = {
        "image": [{"bytes": p.data, "path": p.name} for p in stored],
        "captions": [list(p.captions) for p in stored],
    }
    made = datasets.Dataset.from_dict(rows, features=features)
    return made.select(order) if shuffled else made


def saved(root: Path, photos: Photos) -> None:
    dataset(photos, shuffled=True).save_to_disk(root)


def saved_splits(root: Path, photos: Photos) -> None:
    import datasets

    splits = {"train": dataset(photos[:2]), "test": dataset(photos)}
    datasets.DatasetDict(splits).save_to_disk(root)


def shard(file: Path, photos: Photos, ending: str = "txt") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for photo in photos:
            key, _, suffix = photo.name.rpartition(".")
            text = "\n".join(photo.captions)
            if ending == "json":
                text = json.dumps({"captions": list(photo.captions), "url": "http://x"})
            for name, data in ((f"{key}.{suffix}", photo.data), (f"{key}.{ending}", text.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def webdataset(root: Path, photos: Photos) -> None:
    shard(root / "test" / "0.tar", photos)
    (root / "test" / "nshards.txt").write_text("1\n")


def shards(root: Path, photos: Photos) -> str:
    half = len(photos) // 2
    shard(root / "00.tar", photos[:half])
    shard(root / "01.tar", photos[half:])
    return str(root / "{00..01}.tar")


def shards_folder(root: Path, photos: Photos) -> None:
    half = len(photos) // 2
    shard(root / "00000.tar", photos[:half], "json")
    shard(root / "00001.tar", photos[half:], "json")


def karpathy(root: Path, photos: Photos) -> None:
    images(root, photos)
    entries = [
        {"filename": p.name, "split": "test", "sentences": [{"raw": c} for c in p.captions]}
        for p in photos
    ]
    (root / "dataset_mine.json").write_text(json.dumps({"images": entries}))


def token(root: Path, photos: Photos) -> None:
    images(root, photos)
    text = "".join(f"{p.name}#{n}\t{c}\n" for p in photos for n, c in enumerate(p.captions))
    (root / "mine.token").write_text(text, encoding="utf-8")


def coco(root: Path, photos: Photos) -> None:
    images(root, photos)
    listed = [{"id": n, "file_name": p.name} for n, p in enumerate(photos)]
    pairs = [(n, caption) for n, p in enumerate(photos) for caption in p.captions]
    annotations = [
        {"id": place, "image_id": n, "caption": caption} for place, (n, caption) in enumerate(pairs)
    ]
    text = json.dumps({"images": listed, "annotations": annotations})
    (root / "coco_test_karpathy.json").write_text(text)


def renamed(write: Write, name: str, new_name: str) -> Write:
    """The same annotations under a name that says nothing, beside a file that is broken."""

    def written(root: Path, photos: Photos) -> None:
        write(root, photos)
        (root / name).rename(root / new_name)
        (root / "notes.json").write_text("{")

    return written


def flickr_csv(root: Path, photos: Photos) -> None:
    images(root, photos)
    rows = [(photo.name, caption) for photo, caption in long_rows(photos)]
    table(root / "flickr8k_test_karpathy.txt", ("image", "caption"), rows, ",")


# Each with the layout that it must be recognised as; a writer may give the pattern to name.
LAYOUTS: dict[str, tuple[Write, str]] = {
    "jsonl": (jsonl, "jsonl"),
    "jsonl-caption": (jsonl_caption, "jsonl"),
    "csv": (csv_table, "table"),
    "tsv": (tsv_table, "table"),
    "kaggle": (kaggle, "table"),
    "json": (json_table, "table"),
    "lines": (lines_table, "table"),
    "metadata.csv": (metadata_csv, "imagefolder"),
    "metadata.jsonl": (metadata_jsonl, "imagefolder"),
    "metadata.parquet": (metadata_parquet, "imagefolder"),
    "hub-parquet": (hub_parquet, "parquet"),
    "long-parquet": (long_parquet, "parquet"),
    "numbered-parquet": (numbered_parquet, "parquet"),
    "saved": (saved, "saved"),
    "saved-splits": (saved_splits, "saved"),
    "webdataset": (webdataset, "webdataset"),
    "shards": (shards, "shards"),
    "shards-folder": (shards_folder, "shards"),
    "karpathy": (karpathy, "karpathy"),
    "token": (token, "token"),
    "coco": (coco, "coco"),
    "karpathy-renamed": (renamed(karpathy, "dataset_mine.json", "mine.json"), "karpathy"),
    "coco-renamed": (renamed(coco, "coco_test_karpathy.json", "mine.json"), "coco"),
    "flickr-csv": (flickr_csv, "flickr_csv"),
}


def frame(root: Path, photos: Photos) -> Any:
    import pandas as pd

    images(root, photos)
    rows = long_rows(photos)
    # An index that is no range, as a filtered frame has.
    return pd.DataFrame(
        {"path": [str(root / "images" / p.name) for p, _ in rows], "caption": [c for _, c in rows]},
        index=[7 * n for n in range(len(rows))],
    )


def frame_of_bytes(root: Path, photos: Photos) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {"picture": [p.data for p in photos], "texts": [list(p.captions) for p in photos]}
    )


def frame_of_arrays(root: Path, photos: Photos) -> Any:
    """As pandas reads lists from parquet and from `datasets`."""
    return dataset(photos).to_pandas()


def pairs(root: Path, photos: Photos) -> Any:
    images(root, photos)
    return [(root / "images" / p.name, list(p.captions)) for p in photos]


def dicts(root: Path, photos: Photos) -> Any:
    return [{"image": p.data, "caption": caption} for p, caption in long_rows(photos)]


def stream(root: Path, photos: Photos) -> Any:
    return dataset(photos).to_iterable_dataset()


def splits(root: Path, photos: Photos) -> Any:
    import datasets

    return datasets.DatasetDict({"train": dataset(photos[:2]), "test": dataset(photos)})


def image_text(root: Path, photos: Photos) -> Any:
    import evals

    images(root, photos)
    paths = [root / "images" / p.name for p in photos]
    return evals.image_text(paths, [list(p.captions) for p in photos])


OBJECTS: dict[str, Write] = {
    "Dataset": lambda root, photos: dataset(photos),
    "Dataset-indices": lambda root, photos: dataset(photos, shuffled=True),
    "DatasetDict": splits,
    "IterableDataset": stream,
    "DataFrame": frame,
    "DataFrame-bytes": frame_of_bytes,
    "DataFrame-arrays": frame_of_arrays,
    "pairs": pairs,
    "dicts": dicts,
    "image_text": image_text,
}
