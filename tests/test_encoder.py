"""The jina-clip encoder reads ahead without changing a row, and measures what it was fingerprinted from."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from evals.embeddings.cutting import SHARD_CHARACTERS
from evals.embeddings.store import Store
from evals.encoders import jina
from evals.encoders.jina import JinaEncoder, _kernels
from evals.run import app
from evals.schema import ConfigError, InvalidError, MissingError, Side, StreamingEncoder
from jina_clip import JinaCLIP

TINY = Path(__file__).parents[1] / "configs" / "tiny"


def encoder(**options) -> JinaEncoder:
    return JinaEncoder(name="tiny", folder=TINY, device="cpu", **options)


def texts(items: list[str], role=None) -> Side:
    return Side(
        "text", items, [f"t{i}" for i in range(len(items))], [f"h{item}" for item in items], role
    )


def pictures(n: int) -> Side:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)) for _ in range(n)]
    return Side("image", images, [f"i{i}" for i in range(n)], [f"h{i}" for i in range(n)])


@pytest.mark.parametrize(
    "side",
    [texts(["a red circle", "two", "stars at the top left"]), pictures(5)],
    ids=["text", "image"],
)
def test_a_stream_gives_the_rows_of_each_side_in_order(side):
    model = encoder()
    parts = [side.select([2, 0]), side.select([1]), side.select([2])]
    assert isinstance(model, StreamingEncoder)
    streamed = list(model.stream(iter(parts)))
    for part, rows in zip(parts, streamed, strict=True):
        np.testing.assert_allclose(rows, model.encode(part), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(streamed[0], axis=1), 1, atol=1e-6)


def test_a_stream_that_is_left_early_leaves_no_thread():
    import threading

    before = threading.active_count()
    stream = encoder().stream(pictures(3).select([i]) for i in (0, 1, 2))
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_attention_concerns_texts_and_preprocessing_images():
    plain, fast = encoder().fingerprint, encoder(preprocess="fast").fingerprint
    assert plain["text.attention"] == "sdpa"  # what auto came to
    assert {name for name in plain if plain[name] != fast[name]} == {"image.preprocess"}
    assert encoder(compile=True).fingerprint["image.compiled"] == "true"
    assert encoder(dtype="bfloat16").fingerprint["dtype"] == "bfloat16"


def test_fast_preprocessing_changes_the_rows_a_little():
    side = pictures(2)
    exact, fast = encoder().encode(side), encoder(preprocess="fast").encode(side)
    assert 0 < np.abs(exact - fast).max() < 0.02
    assert (exact * fast).sum(axis=1).min() > 0.999


def test_the_sizes_of_passes_are_kept():
    model = encoder(batch_tokens=64, batch_images=2)
    assert model.batches == {}
    model.encode(texts(["a", "b"]))
    assert model.batches == {"tokens": [64], "images": [2]}


def test_out_of_memory_halves_the_pass_and_the_record_tells(monkeypatch):
    model = encoder(batch_images=4)
    features = model.model.get_image_features

    def small(pixels):
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features(pixels)

    expected = encoder().encode(pictures(7))
    monkeypatch.setattr(model.model, "get_image_features", small)
    np.testing.assert_allclose(model.encode(pictures(7)), expected, atol=1e-6)
    assert model.batches["images"] == [4, 2]


def test_a_card_too_full_to_try_a_kernel_is_named_and_takes_no_other(monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("evals.encoders.jina.resolve_attention", full)
    with pytest.raises(MissingError, match="tiny: out of memory on cpu, not by the size of a pass"):
        encoder()


def test_memory_that_is_too_small_for_one_item_is_named(monkeypatch):
    model = encoder()

    def never(pixels):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.model, "get_image_features", never)
    with pytest.raises(
        MissingError, match="out of memory on cpu even with a pass of a single item, image i0"
    ):
        model.encode(pictures(1))


def test_memory_that_is_too_small_for_one_text_is_named_by_its_id(monkeypatch):
    model = encoder()
    features = model.model.text_model.features

    def small(packed):
        if max(packed.lengths) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features(packed)

    monkeypatch.setattr(model.model.text_model, "features", small)
    side = texts(["a cat", "a dog on a sofa under a red roof in the sun", "blue"])
    with pytest.raises(MissingError, match=rf"single item, text {side.ids[1]} \("):
        model.encode(side)


def test_what_cublas_lacks_is_not_laid_to_the_charge_of_an_item(monkeypatch):
    model = encoder()

    def never(packed):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")

    monkeypatch.setattr(model.model.text_model, "features", never)
    with pytest.raises(
        MissingError, match=r"not by the size of a pass: .*CUBLAS_STATUS.* Free mem"
    ):
        model.encode(texts(["a cat"]))


def test_an_attention_that_cannot_run_is_refused_before_anything_is_loaded():
    with pytest.raises(ConfigError, match=r"--attention varlen: .*CUDA device, not cpu"):
        encoder(attention="varlen")


@pytest.mark.parametrize(
    "option", [("--attention", "eager"), ("--preprocess", "nearest"), ("--dtype", "int8")]
)
def test_unknown_choices_are_usage_errors(option):
    done = CliRunner().invoke(app, ["scenes", "--model", "tiny", *option])
    assert done.exit_code == 2
    assert f"{option[0]} {option[1]}: use " in done.output


def test_shards_of_texts_hold_about_equal_work(tmp_path):
    shards = []

    class Counting:
        name, dim, fingerprint = "counting", 2, {"a": "b"}

        def encode(self, side: Side) -> np.ndarray:
            shards.append([len(text) for text in side.items])
            return np.ones((len(side), 2), np.float32)

    third = SHARD_CHARACTERS // 3
    items = [chr(97 + i) * third for i in range(7)] + ["x" * 2 * SHARD_CHARACTERS, "end"]
    Store(tmp_path).embed(Counting(), texts(items))
    # closed by the text that fills it, whatever comes next
    assert shards == [[third] * 4, [third] * 3 + [2 * SHARD_CHARACTERS], [3]]


def test_an_encoder_counts_the_texts_that_it_cuts() -> None:
    short = encoder(max_length=9)
    side = texts(
        [
            "two red circles",
            "two red circles and a blue star at the top left of a small picture",
            "a",
        ]
    )
    lengths = [len(ids) for ids in short.model.tokenize(list(side.items))]
    assert short.truncated(side) == sum(length > 9 for length in lengths) == 1


def test_the_fingerprint_tells_torch_s_work_from_that_of_the_triton_kernels(monkeypatch) -> None:
    assert encoder().fingerprint["kernels"] == "torch"
    triton = pytest.importorskip("triton")
    faults = {torch.bfloat16: None, torch.float16: "its driver is too old"}
    monkeypatch.setattr(jina, "fused_fault", lambda device, dtype: faults[dtype])
    assert _kernels("cpu", "bfloat16") == "torch"
    assert _kernels("cuda:1", "bfloat16") == f"triton-{triton.__version__}"
    # installed, and wrong or not running here: what was used is what is told
    assert _kernels("cuda:1", "float16") == "torch"


LONG = "two red circles and a blue star at the top left of a small picture"


def test_texts_are_cut_to_max_length_tokens():
    side, model = texts([LONG, "a star"]), JinaCLIP.from_pretrained(TINY, device="cpu")
    for length in (5, 9, 512):
        expected = model.encode_text(list(side.items), max_length=length)
        np.testing.assert_allclose(encoder(max_length=length).encode(side), expected, atol=1e-6)
    assert len(model.tokenize([LONG])[0]) > 9


def test_queries_get_the_instruction_and_documents_do_not():
    model = JinaCLIP.from_pretrained(TINY, device="cpu")
    plain, with_task = (model.encode_text([LONG], task=task) for task in (None, "retrieval.query"))
    assert np.abs(plain - with_task).max() > 1e-3
    measured = encoder()
    for role, expected in (("query", with_task), ("document", plain), (None, plain)):
        np.testing.assert_allclose(measured.encode(texts([LONG], role)), expected, atol=1e-6)


def test_the_instruction_counts_among_the_tokens_of_a_query():
    length = len(encoder().model.tokenize([LONG])[0])
    short = encoder(max_length=length)
    assert short.truncated(texts([LONG], "document")) == 0
    assert short.truncated(texts([LONG], "query")) == 1


def test_a_model_without_instructions_has_none_for_queries(checkpoint_v1):
    measured = JinaEncoder(name="v1", folder=checkpoint_v1, device="cpu")
    rows = [measured.encode(texts(["a cat"], role)) for role in ("query", "document")]
    np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.zeros((8, 8), dtype="<u2")), "mode I;16, which has not 8 bits"),
        (Image.new("RGB", (1, 5_000_000)), "after the resize"),
    ],
)
def test_an_image_that_cannot_be_embedded_is_named_by_its_id(image, message):
    good = pictures(1).items[0]
    side = Side("image", [good, image], ["good.png", "bad.png"], ["h0", "h1"])
    with pytest.raises(InvalidError, match=rf"image bad\.png: .*{message}"):
        encoder().encode(side)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"]
)
def test_a_file_replaced_between_fingerprint_and_use_stops_the_run_by_name(tmp_path, name):
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    measured = JinaEncoder(name="tiny", folder=folder, device="cpu")
    path = folder / name
    (tmp_path / "new").write_bytes(path.read_bytes().rstrip() + b"\n ")
    (tmp_path / "new").replace(path)
    with pytest.raises(InvalidError, match=rf"{name} has changed since the run began"):
        measured.encode(texts(["a star"]))


def test_the_tokenizer_that_counts_is_the_one_that_was_hashed(tmp_path):
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    measured = JinaEncoder(name="tiny", folder=folder, device="cpu")
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(InvalidError, match=r"tokenizer\.json has changed"):
        measured.truncated(texts(["a star"]))


def test_a_checkpoint_that_is_refused_is_an_error_with_a_remedy(tmp_path):
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(InvalidError, match="a PEFT adapter lies beside the weights"):
        JinaEncoder(name="tiny", folder=folder, device="cpu")
    with pytest.raises(MissingError, match=r"config\.json is missing"):
        JinaEncoder(name="tiny", folder=tmp_path, device="cpu")


def test_a_hub_model_is_fetched_once_and_the_hubs_cache_serves_when_the_hub_is_gone(hub):
    hub.files = {path.name: path.read_bytes() for path in TINY.iterdir()}
    hub.files["modeling.py"] = b"raise SystemExit"
    remote = JinaEncoder(name="x", folder=None, repo="org/model", device="cpu")
    assert remote.fingerprint == encoder().fingerprint
    assert not [path for path in hub.asked if "modeling" in path]
    hub.status = 503
    again = JinaEncoder(name="x", folder=None, repo="org/model", device="cpu")
    assert again.fingerprint == remote.fingerprint


@pytest.mark.parametrize("status", [401, 404])
def test_a_hub_model_that_cannot_be_had_is_missing_at_once_with_three_remedies(hub, status):
    hub.status = status
    with pytest.raises(
        MissingError, match=rf"org/model .* answers {status}.* three ways: .*HF_HOME"
    ):
        JinaEncoder(name="x", folder=None, repo="org/model", device="cpu")
