"""Tables of photographs and captions in files: CSV, TSV, JSON, JSON lines, parquet.

table        one of *.csv, *.tsv, *.txt, *.json, *.jsonl: rows with the name of an image file
imagefolder  metadata.csv, metadata.jsonl or metadata.parquet with a column `file_name`, beside the
             images, as https://huggingface.co/docs/datasets/image_dataset has it
parquet      data/<split>-*.parquet, as on the Hub, or other *.parquet: rows with an image

Image names are relative to the folder of the table, or to one of IMAGE_FOLDERS in it. Columns are
found by what they hold (evals.data.columns).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.counts import counted
from evals.data.captioned import Release
from evals.data.clip_benchmark import FLICKR_NAME, csv_rows
from evals.data.columns import Cells, Table, choose_columns
from evals.data.fields import kind_of
from evals.data.json_marks import first_keys
from evals.data.releases import OURS, only
from evals.data.table_rows import captioned
from evals.data.tables import label_names, read_parquet
from evals.reading import read_json, read_jsonl, read_lines
from evals.schema import InvalidError, Source

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
TEXT_TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl")
# By the name of a file: which split it holds.
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test",),
}

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})")
_DELIMITERS = "\t,;|"
_FILE_NAME = re.compile(
    rb"\.(?:jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif)[\"'\s,;|]", re.IGNORECASE
)
# Enough of a file to see what its rows are.
_LOOK = 1 << 16


def find_table(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path] if path.name not in METADATA and _is_text_table(path) else []
    # By names first: the images may lie there, too, and to sort a million paths takes a minute.
    named = [file for file in path.iterdir() if file.suffix in TEXT_TABLES]
    files = [file for file in sorted(named) if file.is_file() and file.name not in METADATA]
    return of_split([file for file in files if _is_text_table(file)], split)


def find_imagefolder(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path] if path.name in METADATA and _has_file_names(path) else []
    # A folder per split, or one that holds a split only.
    for folder in (path / split, path):
        files = [folder / name for name in METADATA if (folder / name).is_file()]
        files = [file for file in files if _has_file_names(file)]
        if files:
            return files
    return []


def find_parquet(path: Path, split: str) -> list[Path]:
    """The first file of those that belong together."""
    if path.is_file():
        return [path] if _is_parquet(path) else []
    files = parquet_files(path, split)
    return files[:1] if files and _is_parquet(files[0]) else []


def parquet_files(path: Path, split: str) -> list[Path]:
    """The parquet files of a split in a folder, in the order of their names."""
    for folder in (path / "data", path / split, path):
        files = [file for file in sorted(folder.glob("*.parquet")) if file.name not in METADATA]
        chosen = files if folder == path / split else of_split(files, split)
        if chosen:
            return chosen
    return []


def of_split(files: Sequence[Path], split: str) -> list[Path]:
    """The files of a split, as far as their names say which they hold."""
    # `test` in a name says more than that of the folder; a name without any such word says nothing.
    words = SPLIT_WORDS.get(split, (split,))
    others = {word for names in SPLIT_WORDS.values() for word in names} - set(words)
    return [file for file in files if not others & set(_words(file.name))]


def read_table(file: Path, source: Source) -> Release:
    """The rows of a text table; those of one image become one image with several captions."""
    return released("table", text_table(file), file.parent, source)


def read_imagefolder(file: Path, source: Source) -> Release:
    """The rows of the metadata of an imagefolder."""
    return released("imagefolder", metadata_table(file, source), file.parent, source)


def read_parquet_rows(file: Path, source: Source) -> Release:
    """The rows of parquet files with images, of which `file` is the first."""
    return released("parquet", rows_of_parquet(file, source), file.parent, source)


def metadata_table(file: Path, source: Source) -> Table:
    """The metadata of an imagefolder."""
    return parquet_table([file]) if file.suffix == ".parquet" else text_table(file)


def rows_of_parquet(file: Path, source: Source) -> Table:
    """The parquet files of a split, of which `file` is the first; all of them have to be there."""
    files = [file]
    if source.folder is not None and source.folder.is_dir():
        files = parquet_files(source.folder, source.split)
    _check_shards(files)
    return parquet_table(files)


def text_table(file: Path) -> Table:
    """A file of rows in text. InvalidError names the line of a row that is broken."""
    if file.suffix == ".jsonl":
        entries = list(read_jsonl(file))
        return table_of_entries(
            str(file), [entry.value for entry in entries], [entry.where for entry in entries]
        )
    if file.suffix == ".json":
        values = read_json(file)
        if not isinstance(values, list):
            raise InvalidError(f"{file}: must be a list of objects, and is {kind_of(values)}.")
        return table_of_entries(str(file), values, [f"{file}, [{n}]" for n in range(len(values))])
    return _csv_table(file)


def table_of_entries(name: str, entries: Sequence[Any], places: Sequence[str]) -> Table:
    """Objects with keys as a table; a key that an object lacks is an empty cell."""
    columns: dict[str, list[Any]] = {}
    for number, (entry, where) in enumerate(zip(entries, places, strict=True)):
        if not isinstance(entry, Mapping):
            raise InvalidError(
                f"{where}: must be an object with an image and its captions, and is "
                f"{kind_of(entry)}. Correct it."
            )
        for key, value in entry.items():
            columns.setdefault(str(key), [None] * number).append(value)
        for cells in columns.values():
            cells.extend([None] * (number + 1 - len(cells)))
    return Table(name, columns, lambda row: places[row])


def parquet_table(files: Sequence[Path]) -> Table:
    """Parquet files as one table; images stay as they are stored until they are read."""
    import pyarrow as pa
    import pyarrow.types as types

    try:
        arrow = pa.concat_tables([read_parquet(file) for file in files])
    except pa.ArrowInvalid as error:
        raise InvalidError(
            f"{files[0]}: its columns are not those of the other files ({error}). Remove what does "
            "not belong to them."
        ) from None
    columns: dict[str, Sequence[Any]] = {}
    for name in arrow.column_names:
        column = arrow[name]
        if types.is_struct(column.type) or types.is_binary(column.type):
            columns[name] = _arrow_cells(column)
        else:
            columns[name] = column.to_pylist()
    place = str(files[0] if len(files) == 1 else files[0].parent)
    classes = {name: names for name in columns if (names := label_names(arrow, name, place))}
    return Table(place, columns, lambda row: f"{place}, row {row}", classes)


def _arrow_cells(column: Any) -> Cells:
    return Cells(len(column), lambda row: column[row].as_py())


def released(layout: str, table: Table, folder: Path, source: Source) -> Release:
    """The captioned images of a table whose files lie in a folder."""
    chosen = choose_columns(table, source.columns)
    return captioned(table, chosen, layout=layout, subset=only(source, folder), folder=folder)


def _csv_table(file: Path) -> Table:
    rows = csv_rows(file, _delimiter(file))
    header, where = next(rows, ([], f"{file}, line 1"))
    names = [name.strip() for name in header]
    if len(set(names)) < len(names) or "" in names:
        raise InvalidError(f"{where}: columns without a name, or two of one. Correct the header.")
    columns: dict[str, list[str]] = {name: [] for name in names}
    places: list[str] = []
    for cells, where in rows:
        if len(cells) != len(names):
            raise InvalidError(
                f"{where}: {counted(len(cells), 'cell')}, where the header has {len(names)}. "
                "Put a cell with a separator in it in quotes."
            )
        for name, cell in zip(names, cells, strict=True):
            columns[name].append(cell)
        places.append(where)
    return Table(str(file), columns, lambda row: places[row])


def _delimiter(file: Path) -> str:
    """What stands between the cells of the first line: the sign that it has the most of."""
    if file.suffix == ".tsv":
        return "\t"
    first = next(read_lines(file), None)
    # A sheet of a German Excel has semicolons, and commas only inside of captions.
    counts = {sign: first.text.count(sign) for sign in _DELIMITERS} if first else {}
    return max(counts, key=lambda sign: counts[sign], default=",")


def _is_text_table(file: Path) -> bool:
    """Whether the first rows of the file name an image file, and something beside it."""
    if file.suffix not in TEXT_TABLES or FLICKR_NAME.fullmatch(file.name):
        return False
    with file.open("rb") as stream:
        start = stream.read(_LOOK).removeprefix(b"\xef\xbb\xbf").lstrip()
    # Excel's "Unicode text" is UTF-16: reading it says what to do.
    if file.suffix in (".csv", ".tsv") and start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    header, _, rows = start.partition(b"\n")
    if file.suffix == ".jsonl":
        return _is_lines_table(file) and _FILE_NAME.search(start) is not None
    if file.suffix == ".json":
        return re.match(rb"\[\s*\{", start) is not None and _FILE_NAME.search(start) is not None
    # The header of a table names columns; a list of files has files in its first line too.
    has_header = any(sign.encode() in header for sign in _DELIMITERS)
    first = rows.partition(b"\n")[0] + b"\n"
    return has_header and not _FILE_NAME.search(header + b"\n") and bool(_FILE_NAME.search(first))


def _is_lines_table(file: Path) -> bool:
    """Whether JSON lines are not those that have a reader of their own."""
    keys = first_keys(file)
    ours = "image" in keys and bool(keys & {"captions", "caption"})
    return len(keys) > 1 and not ours and file.name != OURS


def _has_file_names(file: Path) -> bool:
    """Whether the metadata has the column of an imagefolder: `file_name`, or `image_file_name`."""
    if file.suffix == ".jsonl":
        keys = first_keys(file)
    elif file.suffix == ".parquet":
        keys = set(read_parquet(file).column_names)
    else:
        first = next(read_lines(file), None)
        keys = set(re.split(rf"[{_DELIMITERS}]", first.text)) if first else set()
    names = {key.strip().strip('"') for key in keys}
    if not names:
        return True  # reading it says what is broken
    return any(name == "file_name" or name.endswith("_file_name") for name in names)


def _is_parquet(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def json_object(file: Path) -> dict[str, Any]:
    """What a small JSON file says, where there is one and it holds an object."""
    value = read_json(file) if file.is_file() else None
    return value if isinstance(value, dict) else {}


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def _check_shards(files: Sequence[Path]) -> None:
    """Refuse a set of files of which one is missing: the name of each says how many there are."""
    for file in files:
        match = _SHARD.fullmatch(file.stem)
        same = [name for name in files if match and name.name.startswith(f"{match[1]}-")]
        if match and len(same) != int(match[3]):
            raise InvalidError(
                f"{file}: is one of {int(match[3])} files, and {len(same)} are there. "
                "Complete the folder."
            )
