"""Images without captions, from a folder, from tar archives or from parquet files.

folder  *.tar or *.parquet in it, else all image files below it
file    one .tar or .parquet
glob    crawl/*.tar, crawl/{000..127}.tar, rows/*.parquet
"""

from collections.abc import Sequence
from pathlib import Path

from evals.data.image_formats import ENDINGS
from evals.data.images import image_files
from evals.data.sides import image_side
from evals.schema import ConfigError, InvalidError, MissingError, Side

PACKED = (".tar", ".parquet")


def load_pictures(place: str) -> Side:
    """All images of a place as a side, in the order of file names, then as they lie in a file.

    What else an archive or a table holds is unused. Ids are names of files, below the place or with
    the archive's name before them, or numbers of rows. MissingError: nothing is there. ConfigError:
    the files of a pattern are not of one kind. InvalidError: a file is broken or holds no image.
    """
    path = Path(place).expanduser()
    files = _files(path)
    endings = {file.suffix.lower() for file in files}
    if len(endings & set(PACKED)) and len(endings) > 1:
        raise ConfigError(
            f"{place}: stands for files of {', '.join(sorted(endings))}. Name those of one kind."
        )
    if endings == {".tar"}:
        return _of_archives(files)
    if endings == {".parquet"}:
        return _of_tables(files)
    root = path if path.is_dir() else Path()
    return image_side(image_files(files), [str(file.relative_to(root)) for file in files])


def _files(path: Path) -> list[Path]:
    """The archives or tables of a place, else its image files."""
    from evals.data.shards import expand, is_pattern

    if is_pattern(str(path)) and not path.exists():
        return expand(str(path))
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MissingError(f"{path}: no such file or folder. Point at images, .tar or .parquet.")
    # A folder of archives may hold the images that they were made of, too: these are not read twice.
    packed = [file for file in sorted(path.iterdir()) if file.suffix in PACKED]
    files = packed or sorted(
        file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()
    )
    if not files:
        raise MissingError(f"{path}: no images, no .tar and no .parquet in it.")
    return files


def _of_archives(files: Sequence[Path]) -> Side:
    from evals.data.archives import open_tar
    from evals.data.webdataset import Member, images_of

    members = []
    for file in files:
        archive = open_tar(file)
        # What img2dataset writes beside each image, .txt and .json, is passed over.
        names = [name for name in archive.names if Path(name).suffix.lower() in ENDINGS]
        if not names:
            raise InvalidError(f"{file}: no images in it. Leave it out.")
        members += [Member(archive, name) for name in names]
    # Archives of a crawl count their files from 0, each.
    ids = [f"{member.archive.path.name}/{member.name}" for member in members]
    return image_side(images_of(members), ids)


def _of_tables(files: Sequence[Path]) -> Side:
    from evals.data.columns import choose_columns
    from evals.data.table_files import parquet_table
    from evals.data.table_images import named, opened

    table = parquet_table(files)
    chosen = choose_columns(table, {}, roles=("image",))
    rows = range(len(table))
    images = opened(table, table.columns[chosen.image], rows, files[0].parent)
    return image_side(images, named(table, chosen, rows))
