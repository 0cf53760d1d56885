"""JSON, JSON lines and YAML are read strictly, and each refusal names file, line, culprit and remedy."""

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evals.reading import (
    DEEPEST,
    MOST_DIGITS,
    parse_json,
    read_json,
    read_jsonl,
    read_lines,
    read_text,
    read_yaml,
)
from evals.schema import ConfigError, InvalidError, MissingError

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[1]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(VALUES)
def test_what_json_writes_is_read_back(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert (
        read_json(text.encode("utf-8", "surrogatepass")[:0] + json.dumps(value).encode()) == value
    )
    assert parse_json(text, "it") == value


REFUSED_JSON = [
    ('{"a": 1, "a": 2}', "the key 'a' comes twice"),
    ('[{"b": "a"}, {"x": {"a": 1}, "\\u0078": 2}]', "the key 'x' comes twice"),
    ('{"a": {"b": 1}, "c": {"b": "{", "d": [{"b": 1}], "b": 3}}', "the key 'b' comes twice"),
    ("[NaN]", "NaN is no number"),
    ('["NaN", -Infinity]', "-Infinity is no number"),
    ("[1e999]", "the number 1e999 is too long, or none that is finite"),
    ("[" + "7" * 5000 + "]", "a number of 5,000 digits"),
    ("[" + "7" * (MOST_DIGITS + 1) + "]", "a number of 301 digits"),
    ("[0." + "7" * 5000 + "]", "the number 0.777.* is too long"),
    ("[" * 100_000 + "]" * 100_000, "objects or lists nested more than 100 deep"),
    ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "objects or lists nested more than 100 deep"),
    ('{"a":' * 60 + "[" * 41 + "]" * 41 + "}" * 60, "objects or lists nested more than 100 deep"),
    ('{"a": 1', "not JSON"),
    ('["a\tb"]', "not JSON .*control character"),
    ("", "not JSON"),
    ("{} {}", "not JSON .Extra data, column 4"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED_JSON)
def test_json_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(InvalidError, match=rf"a\.json: {says}.*\. \w.*\.$") as refused:
        read_json(file)
    assert len(str(refused.value).removeprefix(str(file))) < 200
    file.write_text("\n\n" + text + "\n")
    with pytest.raises(ConfigError, match=rf"a\.json(, line \d)?: {says}"):
        read_json(file, error=ConfigError)


def test_the_line_of_the_culprit_is_named() -> None:
    text = b'{"names": ["NaN", "a"],\n "a": {"x": "NaN"},\n "b": [1,\n NaN]}'
    with pytest.raises(InvalidError, match=r"^it, line 4: NaN"):
        read_json(text, "it")
    text = b'{"a": {"b": 1},\n "c": {"b": 2,\n "b": 3}}'
    with pytest.raises(InvalidError, match=r"^it, line 3: the key 'b'"):
        read_json(text, "it")
    with pytest.raises(InvalidError, match=r"^it, line 2: not JSON"):
        read_json(b'{"a": 1,\n b: 2}', "it")


def test_as_deep_and_as_long_as_allowed_is_read() -> None:
    assert read_json(("[" * DEEPEST + "]" * DEEPEST).encode())
    assert read_json(b"[" + b"7" * MOST_DIGITS + b"]") == [int("7" * MOST_DIGITS)]
    deep = read_yaml(("[" * DEEPEST + "]" * DEEPEST).encode())
    assert deep == read_json(("[" * DEEPEST + "]" * DEEPEST).encode())


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    for name, read in (("a.json", read_json), ("a.yaml", read_yaml)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + b'{"a": "\xef\xbb\xbf"}')
        assert read(tmp_path / name) == {"a": "\ufeff"}


@pytest.mark.parametrize("read", [read_json, read_yaml, read_text])
def test_what_is_no_file_or_no_utf8_is_named(tmp_path: Path, read) -> None:
    with pytest.raises(MissingError, match=r"nowhere: cannot be read \(No such file"):
        read(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="not a file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingError, match="pipe: not a file"):
        read(tmp_path / "pipe")
    with pytest.raises(MissingError, match="cannot be read"):
        read(tmp_path / ("x" * 300))
    (tmp_path / "latin").write_bytes(b"a: b\nc: caf\xe9\n")
    with pytest.raises(InvalidError, match="latin, line 2: not UTF-8"):
        read(tmp_path / "latin")
    (tmp_path / "wide").write_bytes("{}".encode("utf-16"))
    with pytest.raises(InvalidError, match="wide, line 1: not UTF-8"):
        read(tmp_path / "wide")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name, read in (("a.json", read_json), ("a.yaml", read_yaml)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(InvalidError, match=rf"{name}: 1,099,511,627,776 bytes, and"):
            read(tmp_path / name)


def test_lines_end_at_lf_and_crlf_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("a\r\nb\u2028c\n\x0bd\r".encode())
    assert [line.text for line in read_lines(tmp_path / "a.txt")] == ["a", "b\u2028c", "\x0bd"]
    assert [line.where for line in read_lines(tmp_path / "a.txt")][2] == f"{tmp_path}/a.txt, line 3"


def test_json_lines_name_their_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\r\n[2]\n')
    assert list(read_jsonl(file)) == [
        ({"a": 1}, f"{file}, line 1"),
        ([2], f"{file}, line 2"),
    ]
    for line, says in ((b"", "is empty"), (b'{"a": 1, "a": 2}', "the key 'a'"), (b"{", "not JSON")):
        file.write_bytes(b"[1]\n" + line + b"\n[3]\n")
        with pytest.raises(InvalidError, match=rf"a\.jsonl, line 2: {says}"):
            list(read_jsonl(file))


REFUSED_YAML = [
    ("a: 1\nb: 2\na: 3", 3, "the key 'a' comes twice"),
    ("a: 1\n'a': 3", 2, "the key 'a' comes twice"),
    ("x:\n  y: &z 1\n  w: *z", 3, r"the alias \*z is not allowed"),
    ("a: !!binary aGk=", 1, "the tag 'tag:yaml.org,2002:binary' is not allowed"),
    ("a: !!python/object:os.system x", 1, "the tag .* is not allowed"),
    ("a: !mine x", 1, "the tag '!mine' is not allowed"),
    ("a: ! 12", 1, "the tag '!' is not allowed"),
    ("<<: {a: 1}", 1, "a key must be a word or a number, and not <<"),
    ("[a]: 1", 1, "a key must be a word or a number"),
    ("? {a: 1}\n: 2", 1, "a key must be a word or a number"),
    ("a: 017", 1, "'017' is no plain decimal number"),
    ("a: 0x1F", 1, "'0x1F' is no plain decimal number"),
    ("a: 0b11", 1, "'0b11' is no plain decimal number"),
    ("a: 1:30", 1, "'1:30' is no plain decimal number"),
    ("a: 1:30.5", 1, "'1:30.5' is no plain decimal number"),
    ("a: 1_000", 1, "'1_000' is no plain decimal number"),
    ("a: .nan", 1, "'.nan' is no plain decimal number"),
    ("a: -.inf", 1, "'-.inf' is no plain decimal number"),
    ("a: 1.0e+999", 1, "'1.0e.999' is no plain decimal number"),
    ("a: " + "7" * 5000, 1, "'7777.*' is no plain decimal number"),
    ("a: " + "[" * 101 + "]" * 101, 1, "nested more than 100 deep"),
    ("a: " + "[" * 3000 + "]" * 3000, 1, "nested more than 100 deep"),
    ("a: 1\n---\nb: 2", 2, "but found another document"),
    ("a: [1", 1, "expected ',' or ']'"),
    ("a:\n\tb: 1", 2, "cannot start any token"),
    ("a: 1\nb: \x07", 2, "holds U.0007, a character that YAML forbids"),
    ("a: =", 1, "could not determine a constructor"),
]


@pytest.mark.parametrize(("text", "line", "says"), REFUSED_YAML)
def test_yaml_that_surprises_is_refused(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"a\.yaml, line {line}: .*{says}.*\. \w+") as refused:
        read_yaml(file, error=ConfigError)
    assert len(str(refused.value).removeprefix(str(file))) < 200


def test_dates_stay_strings() -> None:
    text = b"a: 2026-11-02\nb: 2026-13-45\nc: 2026-11-02T10:00:00Z"
    assert read_yaml(text) == {"a": "2026-11-02", "b": "2026-13-45", "c": "2026-11-02T10:00:00Z"}


def test_plain_numbers_are_those_of_yaml() -> None:
    text = "[0, -3, +4, 1.5, -.5, 2., 1.0e+3, null, ~, yes, no, 'x', 08]"
    assert read_yaml(text.encode()) == yaml.safe_load(text)
    assert read_yaml(b"") is None


def test_the_shipped_configs_are_read_as_ever() -> None:
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(files) > 4
    for file in files:
        assert read_yaml(file, error=ConfigError) == yaml.safe_load(file.read_text("utf-8"))
