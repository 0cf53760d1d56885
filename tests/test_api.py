"""JinaCLIP as its users call it: encode_text and encode_image, what they take, give and refuse."""

import inspect
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from evals.schema import Selection
from jina_clip import JinaCLIP
from tests.conftest import small_model

TEXTS = ["a cat", "the dog runs under a red cat on a blue dog", "a", "the cat sits"]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (40 + 5 * i, 50, 3), dtype=np.uint8)) for i in range(3)
    ]


@pytest.fixture(scope="module")
def model(checkpoint):
    return JinaCLIP.from_pretrained(checkpoint, device="cpu")


def test_rows_come_back_in_order_normalised_and_float32(model):
    rows = model.encode_text(TEXTS, batch_size=2)
    assert rows.dtype == np.float32
    assert rows.shape == (4, 32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for text, row in zip(TEXTS, rows, strict=True):
        np.testing.assert_allclose(model.encode_text(text), row, atol=1e-6)


def test_a_single_item_gives_one_vector(model, images):
    assert model.encode_text("a cat").shape == (32,)
    assert model.encode_text(["a cat"]).shape == (1, 32)
    assert model.encode_image(images[0]).shape == (32,)
    assert model.encode_image(images[:1]).shape == (1, 32)
    assert model.encode_text([]).shape == (0, 32)


def test_tensors_and_unnormalised_rows_on_request(model, images):
    raw = model.encode_image(images, normalize_embeddings=False, convert_to_tensor=True)
    assert isinstance(raw, torch.Tensor)
    assert (raw.norm(dim=1) - 1).abs().min() > 0.01
    np.testing.assert_allclose(
        torch.nn.functional.normalize(raw, dim=1).numpy(), model.encode_image(images), atol=1e-6
    )


def test_truncation_comes_before_the_normalisation(model):
    full = model.encode_text(TEXTS, normalize_embeddings=False)[:, :8]
    expected = full / np.linalg.norm(full, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode_text(TEXTS, truncate_dim=8), expected, atol=1e-6)


@pytest.mark.parametrize("dim", [0, -1, 33])
def test_an_impossible_dimension_is_refused(model, dim):
    with pytest.raises(ValueError, match=f"between 1 and 32, not {dim}"):
        model.encode_text("a", truncate_dim=dim)


def test_a_dimension_the_checkpoint_was_not_trained_for_is_warned_of(model, checkpoint_v1):
    with pytest.warns(
        UserWarning, match="12 dimensions: this checkpoint was trained for 8, 16, 32"
    ):
        model.encode_text("a", truncate_dim=12)
    with pytest.warns(UserWarning, match="trained for 32 only"):
        JinaCLIP.from_pretrained(checkpoint_v1, device="cpu").encode_text("a", truncate_dim=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_text("a", truncate_dim=16)


def test_the_query_instruction_is_a_prefix(model):
    prefix = "Represent the query for retrieving evidence documents: "
    np.testing.assert_allclose(
        model.encode_text("a cat", task="retrieval.query"),
        model.encode_text(prefix + "a cat"),
        atol=1e-6,
    )
    with pytest.raises(
        ValueError, match=r"'retrieval\.passage' is not known; this model has retrieval\.query"
    ):
        model.encode_text("a cat", task="retrieval.passage")


def test_v1_has_no_instructions_and_only_warns(checkpoint_v1):
    model = JinaCLIP.from_pretrained(checkpoint_v1, device="cpu")
    with pytest.warns(UserWarning, match="changes nothing"):
        row = model.encode_text("a cat", task="retrieval.query")
    np.testing.assert_array_equal(row, model.encode_text("a cat"))


def test_encoding_keeps_the_training_flag_and_gradients_work_afterwards(model, images):
    model.train()
    model.encode_text(TEXTS)
    assert model.training
    ids = torch.tensor([[0, 4, 6, 2]])
    model(ids, torch.stack([model.preprocess(images[0])]), return_loss=True).loss.backward()
    assert model.vision_model.pos_embed.grad is not None
    model.zero_grad()
    model.eval()


def test_a_broken_image_leaves_the_training_flag_alone(model):
    model.train()
    model.text_model.eval()
    with pytest.raises(FileNotFoundError):
        model.encode_image("absent.jpg")
    assert (model.training, model.vision_model.training, model.text_model.training) == (
        True,
        True,
        False,
    )
    model.eval()


def test_numbers_of_numpy_are_numbers(model):
    dim, size = np.int64(8), np.int32(2)
    rows = model.encode_text(TEXTS, truncate_dim=dim, batch_size=size, max_length=np.int64(9))
    np.testing.assert_array_equal(rows, model.encode_text(TEXTS, truncate_dim=8, max_length=9))


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": -1}, {"max_length": 2}])
def test_sizes_that_leave_nothing_to_encode_are_refused(model, arguments):
    with pytest.raises(ValueError, match=r"batch_size|max_length"):
        model.encode_text("a cat", **arguments)


def test_encoding_changes_nothing_that_is_saved(model, tmp_path):
    before = (model.save_pretrained(tmp_path / "a") / "tokenizer.json").read_bytes()
    model.encode_text("the cat sits on a dog", max_length=4)
    assert (model.save_pretrained(tmp_path / "b") / "tokenizer.json").read_bytes() == before


def test_a_progress_bar_shows_when_asked_or_when_logging(model, capsys, caplog):
    model.encode_text(TEXTS, show_progress_bar=False)
    model.encode_text(TEXTS)
    assert capsys.readouterr().err == ""
    model.encode_text(TEXTS, show_progress_bar=True)
    assert "encoding" in capsys.readouterr().err
    with caplog.at_level(logging.INFO, logger="jina_clip"):
        model.encode_text(TEXTS)
    assert "encoding" in capsys.readouterr().err


def array_of(items):
    cells = np.empty(len(items), dtype=object)
    cells[:] = items
    return cells


SEQUENCES = {
    "tuple": tuple,
    "array": array_of,
    "a Series whose labels run otherwise": lambda items: pd.Series(items, index=[2, 0, 1]),
    "a filtered Series": lambda items: pd.Series([items[0], *items]).iloc[1:],
    "the values of a dict": lambda items: dict(enumerate(items)).values(),
    "a sequence that decodes when indexed": lambda items: Selection(items, range(len(items))),
}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_any_sequence_is_taken_by_position(model, images, kind):
    texts = TEXTS[:3]
    np.testing.assert_array_equal(
        model.encode_text(SEQUENCES[kind](texts)), model.encode_text(texts)
    )
    np.testing.assert_array_equal(
        model.encode_image(SEQUENCES[kind](images)), model.encode_image(images)
    )


def test_strings_of_numpy_are_texts(model):
    expected = model.encode_text(TEXTS)
    np.testing.assert_array_equal(model.encode_text(np.array(TEXTS)), expected)
    assert model.encode_text(np.str_("a cat")).shape == (32,)


@pytest.mark.parametrize("method", ["encode_text", "encode_image"])
@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((item for item in ["a"]), r"is a generator, .* Pass list"),
        (iter(["a"]), r"is a list_iterator, .* Pass list"),
        ({"a"}, "is a set, not a list"),
        ({"a": "b"}, "is a dict, not a list"),
        (b"a", "is a bytes, not a list"),
        (None, "is a NoneType, not an item or a list"),
        (3, "is a int, not an item or a list"),
        (np.array("a"), "has 0 dimensions"),
        (np.zeros((2, 3)), "has 2 dimensions"),
        (pd.DataFrame({"text": ["a"]}), "has 2 dimensions"),
    ],
)
def test_what_has_no_items_in_order_is_refused(model, method, items, message):
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(items)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "text 1 is NoneType None, not a str"),
        (float("nan"), "text 1 is float nan, not a str"),
        (7, "text 1 is int 7, not a str"),
        (b"a", "text 1 is bytes b'a', not a str"),
        (["a"], r"text 1 is list \['a'\], not a str"),
        ("", "text 1 is empty"),
        ("\ud800", "text 1 cannot be written as UTF-8: surrogates"),
    ],
)
def test_what_is_no_text_is_refused_by_its_position(model, text, message):
    with pytest.raises(ValueError, match=message):
        model.encode_text(["a", text, "b"])


def test_what_is_missing_in_a_series_is_named_by_its_position(model):
    with pytest.raises(ValueError, match="text 1 is float nan, not a str"):
        model.encode_text(pd.Series(["a", None, "b"], index=[5, 6, 7]))


def test_what_is_no_image_is_refused_by_its_position(model, images, tmp_path, monkeypatch):
    # a message holds 100 characters of a path, and that of a temporary folder may be longer
    monkeypatch.chdir(tmp_path)
    Path("text.jpg").write_text("not a picture")
    deep = Image.fromarray(np.zeros((8, 8), dtype="<u2"))
    cases = [
        (None, ValueError, "image 1: an image is a path, .* not NoneType None"),
        (7, ValueError, "image 1: .* not int 7"),
        ("", ValueError, "image 1: .* not str ''"),
        (np.zeros((8, 8, 3), dtype=np.uint8), ValueError, "image 1: .* not ndarray"),
        (deep, ValueError, "image 1: .* mode I;16, which has not 8 bits a channel"),
        (Image.new("RGB", (1, 9_000_000)), ValueError, "image 1: .*after the resize"),
        (Image.new("RGB", (0, 8)), ValueError, "image 1: .* 0 x 8 pixels has none"),
        ("absent.jpg", FileNotFoundError, r"image 1: .*absent\.jpg"),
        (Path("text.jpg"), OSError, r"image 1: text\.jpg"),
    ]
    for item, error, message in cases:
        with pytest.raises(error, match=message):
            model.encode_image([images[0], item])


OFFICIAL_TEXT = """sentences task batch_size show_progress_bar convert_to_numpy convert_to_tensor device
    normalize_embeddings truncate_dim""".split()
OFFICIAL_IMAGE = ["images", *OFFICIAL_TEXT[2:]]
OFFICIAL_DEFAULTS = {
    "task": None,
    "show_progress_bar": None,
    "convert_to_numpy": True,
    "convert_to_tensor": False,
    "device": None,
    "normalize_embeddings": True,
    "truncate_dim": None,
}


@pytest.mark.parametrize(
    ("method", "names"),
    [(JinaCLIP.encode_text, OFFICIAL_TEXT), (JinaCLIP.encode_image, OFFICIAL_IMAGE)],
)
def test_parameters_have_the_official_names_order_and_defaults(method, names):
    """But for batch_size: the official 32 would make passes small, and no row depends on it."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    by_position = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in by_position] == names
    assert {p.name: p.default for p in by_position[1:]} == {
        name: OFFICIAL_DEFAULTS.get(name) for name in names[1:]
    }


def test_rows_come_in_the_form_that_the_official_flags_ask_for(model, images):
    for encode, items in ((model.encode_text, TEXTS), (model.encode_image, images)):
        expected = encode(items)
        assert isinstance(expected, np.ndarray)
        tensor = encode(items, convert_to_numpy=False, convert_to_tensor=True)
        assert isinstance(tensor, torch.Tensor) and np.array_equal(tensor.numpy(), expected)
        assert isinstance(encode(items, convert_to_tensor=True), torch.Tensor)
        rows = encode(items, convert_to_numpy=False)
        assert isinstance(rows, list) and np.array_equal(torch.stack(rows).numpy(), expected)
        assert encode(items[0], convert_to_numpy=False).shape == (32,)


def test_texts_are_cut_to_max_length_unless_truncation_is_off(model):
    """With the longest text of the batch as padding, or without: there is none."""
    long = "the dog runs under a red cat"
    for padding in (True, "max_length", False):
        cut = model.encode_text(long, max_length=5, padding=padding)
        np.testing.assert_array_equal(cut, model.encode_text("the dog runs"))
    full = model.encode_text(long)
    np.testing.assert_array_equal(model.encode_text(long, max_length=5, truncation=False), full)
    assert not np.allclose(full, cut, atol=1e-3)


def test_the_query_instruction_changes_the_row(model):
    plain = model.encode_text("a cat")
    assert not np.allclose(model.encode_text("a cat", "retrieval.query"), plain, atol=1e-3)


def test_a_device_moves_the_model_for_good(checkpoint, monkeypatch):
    model = JinaCLIP.from_pretrained(checkpoint, device="cpu")
    expected = model.encode_text(TEXTS, device="cpu")
    budgets = model.budgets
    model.encode_image([Image.new("RGB", (8, 8))], device=torch.device("cpu"))
    assert model.budgets is budgets  # it was there
    model.set_budget("images", 3)
    model.text_model.attention = "varlen"  # as on CUDA
    model.to("meta")
    monkeypatch.setattr(model, "to", lambda place: model.load_state_dict(state, assign=True))
    state = JinaCLIP.from_pretrained(checkpoint, device="cpu").state_dict()
    np.testing.assert_array_equal(model.encode_text(TEXTS, device="cpu"), expected)
    assert model.text_model.attention == "sdpa" and model.budgets["images"].size != 3


def test_a_model_without_tokenizer_says_so(tmp_path):
    bare = JinaCLIP(small_model().config)
    with pytest.raises(ValueError, match="no tokenizer"):
        bare.encode_text("a")
    with pytest.raises(ValueError, match="no tokenizer"):
        bare.save_pretrained(tmp_path)


def test_transformers_and_torchvision_are_not_needed():
    code = "import sys, jina_clip; print([m for m in ('transformers', 'torchvision', 'timm', 'evals') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
