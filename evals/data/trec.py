"""TREC files: a collection and topics, with judgements of four columns (qrels).

    collection   id, text or id, title, text, parted by tabs
    topics       id, text parted by tabs, or TREC's markup: <top> <num> 301 <title> ... </top>
    qrels        query, iteration, document, grade, parted by spaces or tabs
                 (https://trec.nist.gov/data/qrels_eng/)

The files may be gzipped. They are found by their names and checked by what is in them.
"""

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from evals.counts import counted
from evals.data.judged import Collection, Judgement, Record, judged, title_and_text
from evals.data.lines import first_line, stream_cells, stream_lines
from evals.schema import ConfigError, InvalidError, MissingError, TextRetrieval

# Words in a file's name, by what it is.
ROLES = {
    "collection": ("collection", "corpus", "documents", "docs"),
    "topics": ("topics", "queries"),
    "qrels": ("qrels", "qrel"),
}
COLUMNS = ("query", "iteration", "document", "grade")
BEIR_COLUMNS = ("query-id", "corpus-id", "score")  # the header of BEIR's files
_TOPIC = re.compile(r"<top>(.*?)</top>|<topic\s+number=\"([^\"]+)\"\s*>(.*?)</topic>", re.DOTALL)
_NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+)")
# A title goes on to the next tag: the classic markup does not close it.
_TITLE = re.compile(r"<(?:title|query)>\s*(?:Topic:)?(.*?)(?:<|\Z)", re.DOTALL)


class Files(NamedTuple):
    """The three files of a test collection."""

    collection: Path
    topics: Path
    qrels: Path


def load_trec(place: Path, split: str | None) -> TextRetrieval:
    """The data of a folder; of several topics or judgements those that have the split in their name.

    MissingError: a file is not there. ConfigError: several could be meant. InvalidError: a file is
    broken, or as `evals.data.judged.judged` says.
    """
    files = find_trec(place, split)
    origin = {"layout": "trec", "path": str(place), "qrels": files.qrels.name}
    return judged(
        Collection(_documents(files.collection)),
        Collection(_topics(files.topics)),
        read_judgements(files.qrels),
        origin | ({"split": split} if split else {}),
    )


def find_trec(place: Path, split: str | None) -> Files:
    """The files of a folder; errors list what was looked for and what is there."""
    if not place.is_dir():
        raise MissingError(
            f"{place}: no such folder. Point at the one that holds collection, topics and qrels."
        )
    return Files(*(_file_of(role, words, place, split) for role, words in ROLES.items()))


def _file_of(role: str, words: Sequence[str], place: Path, split: str | None) -> Path:
    files = sorted(path for path in place.iterdir() if path.is_file())
    named = [file for file in files if any(word in file.name.casefold() for word in words)]
    # `qrels.topics.tsv` is of judgements.
    if role != "qrels":
        named = [file for file in named if not any(word in file.name for word in ROLES["qrels"])]
    of_split = [file for file in named if split and split in re.split(r"[^\w]|_", file.name)]
    candidates = of_split or named
    if not candidates:
        there = ", ".join(file.name for file in files[:20]) or "no files"
        raise MissingError(
            f"{place}: no {role}, a file with {' or '.join(words)} in its name; it holds {there}. "
            "Point at a folder of TREC files, or rename it."
        )
    if len(candidates) > 1:
        names = ", ".join(file.name for file in candidates)
        raise ConfigError(
            f"{place}: {names} could all be the {role}. Name a split that one of them has in its "
            "name, with --split, or move the others away."
        )
    return candidates[0]


def _documents(file: Path) -> Iterator[Record]:
    # A title is a column of its own, or there is none: MS MARCO's collection has two columns.
    titled = first_line(file).count("\t") == 2
    names = ("id", "title", "text") if titled else ("id", "text")
    for cells, where in stream_cells(file, names):
        title = cells[1] if titled else None
        yield Record(cells[0], title_and_text(title, cells[-1]), where)


def _topics(file: Path) -> Iterator[Record]:
    if not first_line(file).lstrip().startswith("<"):
        for (name, text), where in stream_cells(file, ("id", "text")):
            yield Record(name, text, where)
        return
    lines = [line.text for line in stream_lines(file)]
    markup = "\n".join(lines)
    topics = list(_TOPIC.finditer(markup))
    # A topic whose end is missing would swallow the next one, and be lost without a word.
    opened = len(re.findall(r"<top>|<topic\s", markup))
    if opened != len(topics):
        raise InvalidError(
            f"{file}: {opened} topics begin and {len(topics)} end with </top>. Correct the file."
        )
    for match in topics:
        where = f"{file}, line {markup.count(chr(10), 0, match.start()) + 1}"
        body = match[1] or match[3]
        number = _NUMBER.search(body) if match[2] is None else None
        title = _TITLE.search(body)
        if (match[2] is None and number is None) or title is None:
            raise InvalidError(f"{where}: the topic has no <num> or no <title>. Correct it.")
        name = match[2] or (number[1] if number else "")
        yield Record(name, " ".join(html.unescape(title[1]).split()), where)


def read_judgements(file: Path) -> Iterator[Judgement]:
    """The lines of a qrels file; InvalidError for one that has not four columns."""
    for line in stream_lines(file):
        cells = line.text.split()
        if len(cells) != len(COLUMNS):
            raise InvalidError(
                f"{line.where}: {counted(len(cells), 'column')}, where {len(COLUMNS)} are expected "
                f"({', '.join(COLUMNS)}). {_remedy(line.text, file)}"
            )
        query, _, doc, grade = cells
        yield Judgement(query, doc, grade, line.where)


def _remedy(line: str, file: Path) -> str:
    """What to do with a line of judgements that has not the columns of TREC."""
    if line.split() != list(BEIR_COLUMNS):
        return "Correct the line."
    command = f"awk 'NR>1 {{print $1, 0, $2, $3}}' {quote(file.name)} > {quote(file.stem)}.qrels"
    return f"This is a file of BEIR, which has a header and no iteration. Rewrite it: {command}"
