"""Sentence pairs from every kind of file are one data, and every fault is refused by place."""

import gzip
import json
from pathlib import Path

import pytest

from evals.data.sentence_pairs import load_pairs
from evals.evaluation.recording import content_hash
from evals.schema import InvalidError, TextPairs

PAIRS = [("A man sings.", 'He "sings", loudly', 4.5), ("A cat", "A dog", 1.0), ("Rain", "Sun", 0.0)]


def tsv(end: str = "\n", header: str = "sentence1\tsentence2\tscore") -> str:
    return "".join(line + end for line in [header, *("\t".join(map(str, row)) for row in PAIRS)])


FILES = {
    "pairs.tsv": tsv().encode(),
    "windows.tsv": b"\xef\xbb\xbf" + tsv("\r\n").encode(),
    "named.tsv": tsv(header="Text1\tText2\tlabel").encode(),
    "pairs.tsv.gz": gzip.compress(tsv().encode()),
    "pairs.csv": b'id,score,sentence1,sentence2\n1,4.5,A man sings.,"He ""sings"", loudly"\n'
    b"2,1,A cat,A dog\n3,0,Rain,Sun\n",
    "pairs.jsonl": "".join(
        json.dumps({"sentence1": a, "sentence2": b, "score": gold}) + "\n" for a, b, gold in PAIRS
    ).encode(),
}


def write(folder: Path, data: bytes, name: str = "pairs.tsv") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def test_every_kind_of_file_gives_one_data(tmp_path: Path) -> None:
    ways = [load_pairs(write(tmp_path, data, name)) for name, data in FILES.items()]
    for data in ways:
        assert isinstance(data, TextPairs) and data.counts == {"pairs": 3}
        rows = zip(data.first.items, data.second.items, data.gold.tolist(), strict=True)
        assert list(rows) == PAIRS
        assert data.first.ids == ["0", "1", "2"]
    assert len({content_hash(data) for data in ways}) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x\ty\n", r"pairs\.tsv, line 5: 2 cells, where the header has 3 \(sentence1"),
        ("x\ty\tz\n", r"line 5: `score` is 'z', which is no finite number"),
        ("x\ty\tnan\n", r"line 5: `score` is 'nan', which is no finite number"),
        ("x\ty\tinf\n", r"line 5: `score` is 'inf'"),
        ("\u200b\ty\t1\n", r"line 5: `sentence1` is empty: it holds invisible"),
        ("x\t\t1\n", r"line 5: `sentence2` is empty"),
    ],
)
def test_a_fault_is_refused_with_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=message):
        load_pairs(write(tmp_path, (tsv() + line).encode()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"begins with an empty line"),
        ("one\ttwo\tthree\na\tb\t1\n", r"line 2: no column sentence1 or .* among one, two, three"),
        ("sentence1\tsentence2\nx\ty\n", r"line 2: no column score or label"),
        ("sentence1\tsentence2\tscore\nx\ty\t1\nz\ty\t1\n", r"2 pairs with 1 gold scores, and a"),
        ('sentence1,sentence2,score\nx,"y,1\n', r"line 2: not CSV"),
        ('{"sentence1": "x", "sentence2": 5, "score": 1}\n', r"line 1: `sentence2` is a whole"),
        ('{"sentence1": "x", "sentence2": "y", "score": true}\n', r"`score` is True, which is no"),
    ],
)
def test_a_file_that_holds_no_pairs_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=message):
        load_pairs(write(tmp_path, text.encode(), "pairs.txt"))
