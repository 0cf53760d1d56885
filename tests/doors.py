"""The ways into a benchmark: each writes the same pictures in its own format, and gives the loader that reads them."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from evals.data import load
from evals.data.objects import image_text
from evals.schema import ClassPrompts, Data, Source
from tests.hub import COMMIT, Hub

TEMPLATES = "zeroshot_classification_templates.txt"


def picture(shade: int) -> bytes:
    """A PNG of 8 x 6 pixels; all of them have the same length."""
    out = io.BytesIO()
    pixels = np.full((6, 8, 3), shade, dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG", compress_level=0)
    return out.getvalue()


@dataclass(frozen=True)
class Row:
    """A picture; `label` is the number of its class, which the first caption names. Without `data` its file is missing."""

    name: Any
    data: bytes | None
    captions: tuple[Any, ...]
    label: Any


ROWS = (
    Row("a.png", picture(10), ("a dog", "two dogs"), 0),
    Row("b.png", picture(20), ("a cat", "one cat"), 1),
    Row("c.png", picture(30), ("a sea", "the sea"), 2),
)


@dataclass(frozen=True)
class Written:
    """Where the rows are written: below `root`, or in the files of a `hub`. `style` is done to the bytes of each text file."""

    root: Path
    hub: Hub
    style: Callable[[bytes], bytes] = bytes

    def text(self, name: str, text: str) -> None:
        self.file(name, self.style(text.encode("utf-8", "surrogatepass")))

    def json(self, name: str, *values: Any) -> None:
        """JSON lines; one value is a file of JSON."""
        self.text(name, "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values))

    def file(self, name: str | bytes, data: bytes) -> None:
        path = self.root / (
            name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def images(self, rows: Sequence[Row]) -> None:
        for row in rows:
            # Names of faults cannot all be files, and need not be: what lists them is refused before.
            if row.data is not None and row.name.endswith(".png") and row.name.isprintable():
                self.file(row.name, row.data)

    def parquet(self, name: str, head: dict[str, Any] | None = None, **columns: Any) -> None:
        table = pa.table(columns)
        if head:
            table = table.replace_schema_metadata({"huggingface": json.dumps(head)})
        out = io.BytesIO()
        pq.write_table(table, out)
        self.hub.files[name] = out.getvalue()

    def load(self, loader: str, prompts: ClassPrompts | None = None, *, hub: bool = False) -> Data:
        place: dict[str, Any] = {"folder": self.root}
        if hub:
            place = {"repo": "org/set", "revision": COMMIT}
        [data] = load(loader, Source(("en",), "test", prompts=prompts, **place)).values()
        return data


Door = Callable[[Written, Sequence[Row]], Data]


def jsonl(out: Written, rows: Sequence[Row]) -> Data:
    out.images(rows)
    out.json("captions.jsonl", *({"image": row.name, "captions": row.captions} for row in rows))
    return out.load("captions")


def karpathy(out: Written, rows: Sequence[Row]) -> Data:
    out.images(rows)
    images = [
        {
            "filename": row.name,
            "split": "test",
            "sentences": [{"raw": caption} for caption in row.captions],
        }
        for row in rows
    ]
    out.json("dataset_x.json", {"images": images})
    return out.load("captions")


def coco(out: Written, rows: Sequence[Row]) -> Data:
    out.images(rows)
    images = [{"id": number, "file_name": row.name} for number, row in enumerate(rows)]
    pairs = [(number, caption) for number, row in enumerate(rows) for caption in row.captions]
    annotations = [
        {"id": number, "image_id": image, "caption": caption}
        for number, (image, caption) in enumerate(pairs)
    ]
    out.json("coco_test_karpathy.json", {"images": images, "annotations": annotations})
    return out.load("captions")


def flickr_csv(out: Written, rows: Sequence[Row]) -> Data:
    out.images(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "caption"])
    for row in rows:
        writer.writerows([row.name, caption] for caption in row.captions)
    out.text("flickr8k_test_karpathy.txt", text.getvalue())
    return out.load("captions")


def webdataset(out: Written, rows: Sequence[Row]) -> Data:
    shard(out, [(row, "txt", "\n".join(map(str, row.captions))) for row in rows])
    return out.load("captions")


def labelled_webdataset(out: Written, rows: Sequence[Row]) -> Data:
    shard(out, [(row, "cls", str(row.label)) for row in rows])
    out.text("classnames.txt", "".join(f"{row.captions[0]}\n" for row in rows))
    out.text(TEMPLATES, "a photo of {c}\n")
    return out.load("labeled_webdataset", ClassPrompts(len(rows)))


def class_folders(out: Written, rows: Sequence[Row]) -> Data:
    for number, row in enumerate(rows):
        if row.data is not None:
            out.file(
                str(number).encode() + b"/" + row.name.encode("utf-8", "surrogateescape"), row.data
            )
    out.json("classes.json", {str(number): row.captions[0] for number, row in enumerate(rows)})
    out.text(TEMPLATES, "a photo of {c}\n")
    return out.load("labeled_webdataset", ClassPrompts(len(rows)))


def hub_captions(out: Written, rows: Sequence[Row]) -> Data:
    out.parquet(
        "test.parquet",
        image=cells(rows),
        image_id=[row.name for row in rows],
        captions=[list(row.captions) for row in rows],
    )
    return out.load("hub_captions", hub=True)


def hub_retrieval(out: Written, rows: Sequence[Row]) -> Data:
    configs = [
        {"config_name": name, "data_files": [{"split": "test", "path": f"{name}.parquet"}]}
        for name in ("corpus", "queries", "qrels")
    ]
    head = json.dumps(configs).encode()
    out.hub.files["README.md"] = b"---\nconfigs: " + out.style(head) + b"\n---\n"
    texts = [(row, caption) for row in rows for caption in row.captions]
    ids = [f"q{number}" for number in range(len(texts))]
    out.parquet("corpus.parquet", id=[row.name for row in rows], image=cells(rows))
    out.parquet("queries.parquet", id=ids, text=[caption for _, caption in texts])
    # A score that is the label keeps its type: NaN where a label is missing.
    scores = [1 if isinstance(row.label, int) else row.label for row, _ in texts]
    images = [row.name for row, _ in texts]
    out.parquet("qrels.parquet", **{"query-id": ids, "corpus-id": images, "score": scores})
    return out.load("hub_retrieval", hub=True)


def labelled_parquet(out: Written, rows: Sequence[Row]) -> Data:
    names = [row.captions[0] for row in rows]
    head = {"info": {"features": {"label": {"names": names}}}}
    out.parquet("test.parquet", head, image=cells(rows), label=[row.label for row in rows])
    return out.load("labeled_parquet", ClassPrompts(len(rows)), hub=True)


def program(out: Written, rows: Sequence[Row]) -> Data:
    """What a program hands over: paths of images, captions and ids."""
    out.images(rows)
    paths = [out.root / row.name for row in rows]
    return image_text(paths, [list(row.captions) for row in rows], ids=[row.name for row in rows])


def pillow(out: Written, rows: Sequence[Row]) -> Data:
    """What a program hands over that has opened its images already."""
    images = [Image.open(io.BytesIO(row.data or b"")) for row in rows]
    return image_text(images, [list(row.captions) for row in rows], ids=[row.name for row in rows])


def cells(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Images as the library `datasets` stores them."""
    return [{"bytes": row.data, "path": None} for row in rows]


def shard(out: Written, samples: Sequence[tuple[Row, str, str]]) -> None:
    """A webdataset of one shard, in which each picture has a file with this ending and text."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
        for row, ending, text in samples:
            key = str(row.name).removesuffix(".png")
            files = {f"{key}.png": row.data, f"{key}.{ending}": out.style(text.encode())}
            for name, content in files.items():
                if content is not None:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    out.text("test/nshards.txt", "1\n")
    out.file("test/0.tar", data.getvalue())


DOORS: dict[str, Door] = {
    "jsonl": jsonl,
    "karpathy": karpathy,
    "coco": coco,
    "csv": flickr_csv,
    "webdataset": webdataset,
    "hub-captions": hub_captions,
    "hub-retrieval": hub_retrieval,
    "class-folders": class_folders,
    "labelled-webdataset": labelled_webdataset,
    "labelled-parquet": labelled_parquet,
    "program": program,
    "pillow": pillow,
}
