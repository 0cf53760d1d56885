"""A multi-vector model of sentence-transformers gives the library's vectors, and is never taken for one of rows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals.encoders.sentence_transformers import SentenceTransformersEncoder
from evals.ranking.maxsim import maxsim
from evals.schema import (
    TEXT_IMAGE,
    ConfigError,
    MultiVectorEncoder,
    Side,
    Vectors,
    is_multi_vector,
    text_image_side,
)
from tests.toys import text_side

pytest.importorskip("sentence_transformers")

WORDS = ["a red cat sits", "the dog runs on a blue cat", "dog", "under the red"]


@pytest.fixture
def copied(several_model, tmp_path) -> Path:
    return Path(shutil.copytree(several_model, tmp_path / "copied"))


def encoder(folder: Path | str, **options) -> SentenceTransformersEncoder:
    return SentenceTransformersEncoder(name="toy", spec=str(folder), device="cpu", **options)


def library(folder: Path):
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(folder), device="cpu")


def pages(n: int) -> Side:
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)) for i in range(n)
    ]
    names = [f"i{i}" for i in range(n)]
    return Side("image", images, names, names, "document")


def rewrite(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def assert_vectors(vectors: Vectors, expected) -> None:
    assert vectors.counts.tolist() == [len(item) for item in expected]
    np.testing.assert_allclose(vectors.rows, np.concatenate(expected), atol=1e-6)


def test_vectors_are_the_library_s_in_order_and_by_role(several_model):
    model = encoder(several_model)
    assert isinstance(model, MultiVectorEncoder)
    assert is_multi_vector(model)
    assert model.dim == 8
    assert "model" not in vars(model)  # its width was read, not loaded
    reference = library(several_model)
    for role, encode in (
        ("query", reference.encode_query),
        ("document", reference.encode_document),
    ):
        vectors = model.encode(text_side(WORDS, role))
        assert_vectors(vectors, [item.numpy() for item in encode(WORDS)])
    # Queries are cut at 6 tokens; of documents "the" has no vector.
    assert model.encode(text_side(WORDS, "query")).counts.tolist() == [6, 6, 5, 6]
    assert model.encode(text_side(WORDS, "document")).counts.tolist() == [6, 8, 3, 4]


def test_our_scores_are_the_library_s(several_model):
    model, reference = encoder(several_model), library(several_model)
    queries = model.encode(text_side(WORDS, "query"))
    docs = model.encode(text_side(WORDS[::-1], "document"))
    expected = reference.similarity(
        reference.encode_query(WORDS), reference.encode_document(WORDS[::-1])
    )
    np.testing.assert_allclose(maxsim(queries, docs), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("saved_by_the_library", [False, True])
def test_a_colpali_gives_the_vectors_of_pages(pali_model, tmp_path, saved_by_the_library):
    reference, folder = library(pali_model), pali_model
    if saved_by_the_library:
        folder = tmp_path / "saved"
        reference.save(str(folder))
    model, side = encoder(folder), pages(5)
    assert model.dim == 8
    assert "model" not in vars(model)
    assert_vectors(model.encode(side), [p.numpy() for p in reference.encode_document(side.items)])
    queries = model.encode(text_side(WORDS, "query"))
    assert_vectors(queries, [q.numpy() for q in reference.encode_query(WORDS)])
    with pytest.raises(ConfigError, match="reads documents as images of pages"):
        model.encode(text_side(WORDS, "document"))


def texts_beside_pages(order=("text", "image")) -> Side:
    texts = text_side(WORDS, "document")
    return text_image_side(texts, pages(len(WORDS)), texts.ids, order=order)


@pytest.mark.parametrize("order", [("text", "image"), ("image", "text")])
def test_a_text_and_an_image_are_read_in_one_pass_as_the_library_does(reader_model, order):
    model, side = encoder(reader_model), texts_beside_pages(order)
    assert side.kind == TEXT_IMAGE
    items = [{name: side.items[i][name] for name in order} for i in range(len(side))]
    expected = [item.numpy() for item in library(reader_model).encode_document(items)]
    vectors = model.encode(side)
    assert_vectors(vectors, expected)
    # What is read second depends on what is read first: two encodings side by side do not.
    alone = [model.encode(part).item(0) for part in (text_side(WORDS[:1], "document"), pages(1))]
    together = vectors.item(0)
    assert not np.allclose(together[-2:], alone[order.index("image") - 1][-2:], atol=1e-3)
    assert len(together) < len(alone[0]) + len(alone[1])  # one beginning of the sequence, not two


def test_the_two_orders_of_a_text_and_an_image_are_two_items(reader_model):
    one, other = texts_beside_pages(), texts_beside_pages(("image", "text"))
    assert set(one.hashes).isdisjoint(other.hashes)
    model = encoder(reader_model)
    assert not np.allclose(model.encode(one).rows, model.encode(other).rows, atol=1e-3)


def test_a_model_that_reads_either_alone_refuses_both_in_one(pali_model, several_model):
    with pytest.raises(ConfigError, match="texts and images, but no item that has both: 't0'"):
        encoder(pali_model).encode(texts_beside_pages())
    with pytest.raises(ConfigError, match=r"has no text\+image tower"):
        encoder(several_model).encode(texts_beside_pages())


def test_a_folder_of_pylate_is_understood_without_its_code(copied):
    reference = library(copied)
    modules = json.loads((copied / "modules.json").read_text())[:2]
    modules[0]["type"] = "sentence_transformers.models.Transformer"
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (copied / "modules.json").write_text(json.dumps(modules))
    rewrite(
        copied / "config_sentence_transformers.json",
        model_type="ColBERT",
        similarity_fn_name="MaxSim",
        skiplist_words=["the"],
        do_query_expansion=False,
    )
    model = encoder(copied)
    assert (model.dim, model.source["similarity"]) == (8, "maxsim")
    docs = model.encode(text_side(WORDS, "document"))
    assert_vectors(docs, [item.numpy() for item in reference.encode_document(WORDS)])


def test_texts_are_cut_at_the_lower_limit(several_model):
    short = encoder(several_model, max_length=5)
    assert short.encode(text_side(WORDS, "document")).counts.max() == 5
    assert short.encode(text_side(WORDS, "query")).counts.max() == 5
    whole = encoder(several_model)
    assert whole.encode(text_side([" ".join(WORDS)], "document")).counts.tolist() == [9]


def test_what_is_neither_query_nor_document_is_refused(several_model):
    with pytest.raises(ConfigError, match="these texts are neither"):
        encoder(several_model).encode(text_side(WORDS))


def test_a_model_of_texts_has_no_pages(several_model):
    with pytest.raises(ConfigError, match="has no image tower"):
        encoder(several_model).encode(pages(1))


@pytest.mark.parametrize(
    ("saved", "spec", "message"),
    [
        ("meanmaxsim", "", "made to be compared by meanmaxsim.*;similarity=maxsim behind"),
        ("meanmaxsim", ";similarity=maxsim", None),
        (None, ";similarity=maxsim", None),
        (None, ";similarity=cosine", "cannot be compared by cosine"),
        (None, ";similarity=dot", "Only ;similarity=cosine or ;similarity=maxsim"),
    ],
)
def test_vectors_are_compared_by_maxsim_alone(copied, saved, spec, message):
    rewrite(copied / "config_sentence_transformers.json", similarity_fn_name=saved)
    if message is None:
        assert encoder(f"{copied}{spec}").dim == 8
        return
    with pytest.raises(ConfigError, match=message):
        _ = encoder(f"{copied}{spec}").dim


def test_rows_cannot_be_compared_by_maxsim(text_model):
    with pytest.raises(ConfigError, match="cannot be compared by maxsim"):
        _ = encoder(f"{text_model};similarity=maxsim").dim


def test_another_kind_of_model_is_refused(copied):
    rewrite(copied / "config_sentence_transformers.json", model_type="SparseEncoder")
    with pytest.raises(ConfigError, match="a SparseEncoder, whose output is neither"):
        encoder(copied)
