"""What benchmarks cost: the posts' worked examples, headers read without decoding, tokens counted by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from evals.analysis.cost import image_costs, read_tokenizer, sizes, storage, text_costs
from evals.config.models import ModelRef
from evals.data.images import image_files, pixel_size
from evals.schema import ConfigError, InvalidError, MissingError, Side
from tests.conftest import word_tokenizer
from tests.toys import image_text

ROOT = Path(__file__).parents[1]


def cost(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evals.cost", *map(str, arguments)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": "http://127.0.0.1:1",
        "HF_HOME": str(cwd / "hub"),
    }
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )


def drawn(folder: Path, *sizes: tuple[int, int]) -> Side:
    files = [folder / f"{n}.png" for n in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        Image.new("RGB", size).save(file)
    ids = [file.name for file in files]
    return Side("image", image_files(files), ids, ids)


@pytest.mark.parametrize(
    ("size", "v1_tokens", "v2_tokens"),
    [
        ((512, 512), 9_000, 4_000),
        ((720, 720), 16_000, 16_000),
        ((1080, 1080), 25_000, 36_000),
        ((750, 500), 12_000, 8_000),
    ],
)
def test_the_posts_examples_are_counted_as_the_posts_do(size, v1_tokens, v2_tokens):
    v1, v2, resized = image_costs([size])
    assert (v1.tokens, v2.tokens) == (v1_tokens, v2_tokens)
    assert (v1.tiles, v2.tiles) == (v1_tokens // 1_000, v2_tokens // 4_000)
    assert (resized.images, resized.tiles, resized.tokens) == (1, 1, 4_000)


def test_images_add_up():
    v1, v2, resized = image_costs([(512, 512), (720, 720), (1080, 1080)])
    assert (v1.images, v1.tiles, v2.tiles, resized.tiles) == (3, 9 + 16 + 25, 1 + 4 + 9, 3)
    assert v2.tokens == 4_000 + 16_000 + 36_000


def test_sizes_are_those_of_the_headers_and_shared_images_count_once(tmp_path):
    side = drawn(tmp_path, (30, 20), (1000, 10), (7, 600))
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[:60])  # the header is whole, the pixels are not there
    with pytest.raises(InvalidError, match=r"1\.png: the image is broken"):
        side.items[1]
    assert list(sizes([side, side.select([2, 0])])) == [(30, 20), (1000, 10), (7, 600)]
    assert pixel_size(side.select([2, 1]).select([1]).items, 0) == (1000, 10)


def test_a_file_without_a_header_is_named(tmp_path):
    side = drawn(tmp_path, (30, 20))
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(InvalidError, match=r"0\.png: its 8 bytes are not an image"):
        list(sizes([side]))


def test_texts_are_counted_once_in_words_and_tokens():
    data = image_text([0, 0, 1])
    texts = Side(
        "text",
        ["a cat sits", "a cat sits", "the  dog runs on red"],
        ["t0", "t1", "t2"],
        ["h0", "h0", "h2"],
    )
    data = type(data)(data.images, texts, data.image_of_text, data.origin)
    (only,) = text_costs({"en": data}, word_tokenizer())
    assert (only.subset, only.texts, only.words, only.tokens, only.special) == ("en", 2, 8, 8, 4)
    assert only.tokens_per_word == 1.0
    (words,) = text_costs({"en": data}, None)
    assert (words.words, words.tokens, words.special, words.tokens_per_word) == (
        8,
        None,
        None,
        None,
    )


def test_vectors_take_the_bytes_of_their_bits():
    found = {(s.dim, s.precision): s.bytes_per_vector for s in storage([1024, 12])}
    assert [found[1024, name] for name in ("float32", "float16", "int8", "binary")] == [
        4096,
        2048,
        1024,
        128,
    ]
    assert found[12, "binary"] == 2  # bits fill whole bytes
    assert next(s for s in storage([768])).bytes_per_million == 3_072_000_000


def test_a_tokenizer_is_all_that_is_read_of_a_checkpoint(tmp_path):
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(ModelRef("m", "jina_clip", tmp_path)).encode(
        "a cat", add_special_tokens=False
    ).tokens == ["a", "cat"]
    with pytest.raises(ConfigError, match="--model st-x: only the tokenizer of a jina-clip"):
        read_tokenizer(ModelRef("st-x", "sentence_transformers", spec="x"))
    with pytest.raises(MissingError, match=r"no/tokenizer\.json: no such file"):
        read_tokenizer(ModelRef("m", "jina_clip", tmp_path / "no"))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InvalidError, match=r"not a tokenizer\.json"):
        read_tokenizer(ModelRef("m", "jina_clip", tmp_path))


def test_the_command_counts_a_bundled_benchmark(tmp_path):
    done = cost(
        "scenes", "--subsets", "en,zh", "--model", "tiny", "--dims", "64", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (only,) = told["benchmarks"]
    assert only["partial"] == {"subsets": ["en", "zh"]}
    assert [(i["rule"], i["images"], i["tiles"], i["tokens"]) for i in only["images"]] == [
        ("v1", 500, 500, 500_000),
        ("v2", 500, 500, 2_000_000),
        ("v2, resized to 512x512", 500, 500, 2_000_000),
    ]
    english, chinese = only["texts"]
    assert 1 < english["tokens_per_word"] < 1.2 and chinese["words"] == chinese["texts"]
    assert [s["bytes_per_million"] for s in told["storage"]] == [
        256_000_000,
        128_000_000,
        64_000_000,
        8_000_000,
    ]
    table = cost("scenes", "--limit", 3, "--dims", "1024", cwd=tmp_path).stdout
    for piece in ("scenes (part)", "12,000", "4.10 GB", "128 MB", "--model"):
        assert piece in table


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("scene",), 2, "Did you mean scenes"),
        (("scenes", "--subsets", "xx"), 2, "no subset xx"),
        (("scenes", "--model", "st:some/model"), 2, "only the tokenizer"),
        (("scenes", "--dims", "0"), 2, "--dims"),
        (("scenes", "--model", "jina-clip-v1"), 5, "cannot be fetched"),
        (("flickr8k", "--data", "nowhere"), 5, "nowhere"),
    ],
)
def test_what_cannot_be_counted_is_said_with_its_exit_code(tmp_path, arguments, code, message):
    done = cost(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
