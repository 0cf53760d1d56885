"""The ways in for data of one's own, each writing the same rows: files and objects, with a list of captions or one per row."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evals.config.own_data import DataRef, Reading
from evals.data.own import object_subsets, read_own
from evals.schema import CaptionProtocol, Data
from tests.doors import Row


@dataclass(frozen=True)
class Desk:
    """Where the rows are written; `style` is done to the bytes of text files, `link` puts images elsewhere."""

    root: Path
    style: Callable[[bytes], bytes] = bytes
    link: bool = False

    def image(self, row: Row) -> None:
        if row.data is None:
            return
        place = self.root / row.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            store = self.root.parent / "store"
            store.mkdir(exist_ok=True)
            (store / row.name).write_bytes(row.data)
            place.unlink(missing_ok=True)
            place.symlink_to(store / row.name)
        else:
            place.write_bytes(row.data)

    def text(self, name: str, text: str) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(self.style(text.encode()))

    def read(self, place: Path | None = None) -> Data:
        ref = DataRef("captions", str(place or self.root), "own")
        [data] = read_own(ref, Reading()).subsets.values()
        return data


def held(value: Any) -> Data:
    [data] = object_subsets(value, "own", Reading(), CaptionProtocol()).values()
    return data


def long_rows(rows: Sequence[Row]) -> list[tuple[Row, Any]]:
    return [(row, caption) for row in rows for caption in row.captions]


def sheet(desk: Desk, rows: Sequence[Row], name: str, sign: str) -> Data:
    for row in rows:
        desk.image(row)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=sign, lineterminator="\n")
    writer.writerow(["path", "caption"])
    writer.writerows([row.name, caption] for row, caption in long_rows(rows))
    desk.text(name, out.getvalue())
    return desk.read()


def csv_file(desk: Desk, rows: Sequence[Row]) -> Data:
    return sheet(desk, rows, "photos.csv", ",")


def tsv_file(desk: Desk, rows: Sequence[Row]) -> Data:
    return sheet(desk, rows, "photos.tsv", "\t")


def metadata(desk: Desk, rows: Sequence[Row]) -> Data:
    for row in rows:
        desk.image(row)
    entries = [{"file_name": row.name, "text": list(row.captions)} for row in rows]
    desk.text("metadata.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries))
    return desk.read()


def parquet(desk: Desk, rows: Sequence[Row]) -> Data:
    images = [{"bytes": row.data, "path": row.name} for row in rows]
    return write_parquet(desk, image=images, captions=[list(row.captions) for row in rows])


def long_parquet(desk: Desk, rows: Sequence[Row]) -> Data:
    pairs = long_rows(rows)
    return write_parquet(desk, image=[r.data for r, _ in pairs], caption=[c for _, c in pairs])


def write_parquet(desk: Desk, **columns: list[Any]) -> Data:
    desk.root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), desk.root / "photos.parquet")
    return desk.read()


def dataset(rows: Sequence[Row]) -> Any:
    import datasets

    features = {"image": datasets.Image(), "captions": datasets.List(datasets.Value("string"))}
    images = [{"bytes": row.data, "path": row.name} for row in rows]
    captions = [list(row.captions) for row in rows]
    if any(not isinstance(text, str) for texts in captions for text in texts if text is not None):
        del features["captions"]
        features["captions"] = datasets.List(datasets.Value("float64"))
    return datasets.Dataset.from_dict(
        {"image": images, "captions": captions}, features=datasets.Features(features)
    )


def saved(desk: Desk, rows: Sequence[Row]) -> Data:
    dataset(rows).save_to_disk(desk.root)
    return desk.read()


def shards(desk: Desk, rows: Sequence[Row]) -> Data:
    desk.root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(desk.root / "00.tar", "w") as tar:
        for row in rows:
            key = row.name.removesuffix(".png")
            text = desk.style("\n".join(map(str, row.captions)).encode())
            for name, content in ((f"{key}.png", row.data), (f"{key}.txt", text)):
                if content is not None:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return desk.read(desk.root / "00.tar")


def hf_dataset(desk: Desk, rows: Sequence[Row]) -> Data:
    return held(dataset(rows))


def frame(desk: Desk, rows: Sequence[Row]) -> Data:
    import pandas as pd

    for row in rows:
        desk.image(row)
    pairs = long_rows(rows)
    paths = [str(desk.root / row.name) for row, _ in pairs]
    return held(pd.DataFrame({"path": paths, "caption": [caption for _, caption in pairs]}))


def dicts(desk: Desk, rows: Sequence[Row]) -> Data:
    return held([{"image": row.data, "captions": list(row.captions)} for row in rows])


def pairs(desk: Desk, rows: Sequence[Row]) -> Data:
    for row in rows:
        desk.image(row)
    return held([(desk.root / row.name, list(row.captions)) for row in rows])


Door = Callable[[Desk, Sequence[Row]], Data]
DOORS: dict[str, Door] = {
    "csv": csv_file,
    "tsv": tsv_file,
    "metadata": metadata,
    "parquet": parquet,
    "long parquet": long_parquet,
    "saved": saved,
    "shards": shards,
    "Dataset": hf_dataset,
    "DataFrame": frame,
    "dicts": dicts,
    "pairs": pairs,
}
# Doors that read text files; whose cells are text only; with one caption per row; with image files.
TEXT = {"csv", "tsv", "metadata", "shards"}
CELLS = {"csv", "tsv", "shards"}
LONG = {"csv", "tsv", "long parquet", "DataFrame"}
FILES = {"csv", "tsv", "metadata", "DataFrame", "pairs"}
