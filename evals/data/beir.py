"""BEIR folders: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, each plain or gzipped.

The layout of https://github.com/beir-cellar/beir, and of mteb's repos, whose judgements are JSON
lines. A document has `_id`, `text` and perhaps a `title`; a query `_id` and `text`. Beyond BEIR
either may have an `image`, a path below the folder, beside its text or in place of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from evals.data.fields import field_of, kind_of
from evals.data.judged import Collection, Judgement, Record, as_id, judged, title_and_text
from evals.data.lines import first_line, stream_cells, stream_json
from evals.paths import leads_out
from evals.schema import ConfigError, InvalidError, MissingError, TextRetrieval

CELLS = ("query-id", "corpus-id", "score")
USUAL_SPLIT = "test"  # BEIR's own


class Folder(NamedTuple):
    """The files of a BEIR folder, and the split that its judgements are of."""

    corpus: Path
    queries: Path
    qrels: Path
    split: str


def load_beir(place: Path, split: str | None) -> TextRetrieval:
    """The data of a folder; its judgements are those of `split`, or of the one that there is.

    MissingError: a file is not there. ConfigError: the split is not clear. InvalidError: a file is
    broken, or as `evals.data.judged.judged` says.
    """
    folder = find_beir(place, split)
    return judged(
        Collection(_records(folder.corpus, place, titled=True)),
        Collection(_records(folder.queries, place, titled=False)),
        _judgements(folder.qrels),
        {"layout": "beir", "path": str(place), "split": folder.split},
    )


def find_beir(place: Path, split: str | None) -> Folder:
    """The files of a folder; errors list what was looked for and what is there."""
    if not place.is_dir():
        raise MissingError(f"{place}: no such folder. Point at the one that holds corpus.jsonl.")
    corpus = _only(place, ["corpus.jsonl"])
    splits = _splits(place)
    # Of several splits only BEIR's own is guessed: another would be another benchmark.
    chosen = split or (USUAL_SPLIT if USUAL_SPLIT in splits or len(splits) != 1 else min(splits))
    if chosen not in splits:
        names = ", ".join(sorted(splits)) or "none"
        raise ConfigError(
            f"{place / 'qrels'}: no judgements of split {chosen!r}; the splits there are {names}. "
            "Name one with --split."
        )
    queries = _only(place, ["queries.jsonl", f"queries_{chosen}.jsonl"])
    return Folder(corpus, queries, splits[chosen], chosen)


def _only(place: Path, names: list[str]) -> Path:
    """The file of one of these names, plain or gzipped."""
    candidates = [place / (name + end) for name in names for end in ("", ".gz")]
    files = [file for file in candidates if file.is_file()]
    if not files:
        there = ", ".join(sorted(path.name for path in place.iterdir())[:20]) or "nothing"
        raise MissingError(
            f"{place}: no {' or '.join(names)} in it, plain or as .gz; it holds {there}. "
            "Point at a BEIR folder: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv."
        )
    # Which of the two is newer nobody can tell.
    if len(files) > 1:
        raise ConfigError(
            f"{place}: holds {' and '.join(file.name for file in files)}, either of which could be "
            "meant. Remove one."
        )
    return files[0]


def _splits(place: Path) -> dict[str, Path]:
    """The files of judgements by split."""
    splits: dict[str, Path] = {}
    files = sorted((place / "qrels").glob("*")) if (place / "qrels").is_dir() else []
    for file in files:
        name = file.name.removesuffix(".gz")
        split, _, kind = name.rpartition(".")
        if kind not in ("tsv", "jsonl") or not split:
            continue
        if split in splits:
            raise ConfigError(
                f"{file.parent}: holds {splits[split].name} and {file.name}, either of which could "
                "be meant. Remove one."
            )
        splits[split] = file
    return splits


def _records(file: Path, place: Path, *, titled: bool) -> Iterator[Record]:
    for entry, where in stream_json(file):
        # BEIR writes `_id`, mteb's repos `_id` or `id`.
        key = "id" if isinstance(entry, dict) and "_id" not in entry and "id" in entry else "_id"
        name = as_id(field_of(entry, key, object, where, noun="the id, a string"))
        image = _image(entry.get("image"), place, where)
        text = entry.get("text")
        # An empty text is counted later; none at all is a fault of the file.
        if text is None and image is None:
            field_of(entry, "text", str, where)  # raises, with the keys that are there
        title = entry.get("title") if titled else None
        if title is not None and not isinstance(title, str):
            raise InvalidError(
                f"{where}: `title` must be a string and is {kind_of(title)}. Correct the entry."
            )
        yield Record(name, title_and_text(title, text) if titled else text, where, image)


def _image(value: Any, place: Path, where: str) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or leads_out(value):
        raise InvalidError(
            f"{where}: `image` must be a path below {place}, without `..`, and is {value!r}. "
            "Correct the entry."
        )
    return place / value


def _judgements(file: Path) -> Iterator[Judgement]:
    if first_line(file).lstrip().startswith("{"):
        for entry, where in stream_json(file):
            query, doc, grade = (
                field_of(entry, name, object, where, noun="a value") for name in CELLS
            )
            yield Judgement(as_id(query), as_id(doc), grade, where)
        return
    for number, (cells, where) in enumerate(stream_cells(file, CELLS)):
        # A file without a header keeps its first judgement, which BEIR's reader would skip.
        if number == 0 and _is_header(cells):
            continue
        query, doc, grade = cells
        yield Judgement(query, doc, grade, where)


def _is_header(cells: list[str]) -> bool:
    """Whether the first line names the columns; BEIR's always does."""
    return cells[2].strip().casefold() in ("score", "relevance", "label", "grade", "rel")
