"""The API encoder sends what was documented, believes only whole answers, waits as told and never shows its key."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from evals.embeddings.store import Store
from evals.encoders import build
from evals.schema import ConfigError, InvalidError
from tests.api_service import (
    KEY,
    Reply,
    changed,
    encoder,
    file,
    good,
    image_side,
    items_side,
    row_of,
    unit,
)
from tests.toys import text_side

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("waits")]


def test_jina_clip_gets_text_objects_and_rows_come_back_normalised(service):
    rows = encoder(service).encode(text_side(["a dog", "ein Hund"]))
    assert service.requests == [
        {
            "model": "jina-clip-v2",
            "input": [{"text": "a dog"}, {"text": "ein Hund"}],
            "normalized": True,
            "embedding_type": "float",
            "dimensions": 4,
        }
    ]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(
        rows, [unit(row_of({"text": "a dog"})), unit(row_of({"text": "ein Hund"}))], rtol=1e-6
    )


def test_other_models_get_plain_strings_and_no_field_that_they_do_not_know(service):
    encoder(service, "text-embedding-3-small;dim=4").encode(text_side(["a dog"], role="query"))
    assert service.requests == [
        {
            "model": "text-embedding-3-small",
            "input": ["a dog"],
            "encoding_format": "float",
            "dimensions": 4,
        }
    ]


def test_queries_get_the_task_of_jina_models_and_documents_none(service):
    model = encoder(service, "jina-embeddings-v3;dim=4")
    model.encode(text_side(["a"], role="query"))
    model.encode(text_side(["a"], role="document"))
    assert [request.get("task") for request in service.requests] == ["retrieval.query", None]
    assert service.requests[0]["input"] == ["a"]


def test_the_bytes_of_image_files_are_sent_as_they_are_even_through_selections(service):
    files = [file(3, 2, colour, "JPEG") for colour in range(6)]
    encoder(service).encode(image_side(files).select([5, 3, 1]).select([2, 0]))
    sent = [base64.b64decode(item["image"]) for item in service.requests[0]["input"]]
    assert sent == [files[1], files[5]]


def test_images_without_a_file_are_sent_as_png_and_urls_as_urls(service):
    images = [
        Image.new("CMYK", (3, 2)),
        Image.new("RGB", (3, 2), (1, 2, 3)),
        "https://example.org/a.jpg",
    ]
    model = encoder(service)
    model.encode(items_side(images))
    first, second, third = (item["image"] for item in service.requests[0]["input"])
    assert Image.open(BytesIO(base64.b64decode(first))).mode == "RGB"
    assert Image.open(BytesIO(base64.b64decode(second))).getpixel((0, 0)) == (1, 2, 3)
    assert third == "https://example.org/a.jpg"
    assert model.usage["unpriced"] == 1


def test_an_image_that_is_none_is_refused_by_its_id(service):
    with pytest.raises(InvalidError, match="image i0 is neither an image nor a URL, but a str"):
        encoder(service).encode(items_side(["beach.jpg"]))
    with pytest.raises(InvalidError, match=r"image 0\.png cannot be read"):
        encoder(service).encode(image_side([b"no image"]))
    assert service.requests == []


def test_requests_hold_32_images_or_128_texts_unless_told_otherwise(service):
    model = encoder(service)
    assert model.encode(text_side([f"text {i}" for i in range(130)])).shape == (130, 4)
    model.encode(image_side([file(1, 1, i) for i in range(33)]))
    encoder(service, batch_images=2).encode(image_side([file(1, 1, i) for i in range(3)]))
    assert [len(request["input"]) for request in service.requests] == [128, 2, 32, 1, 2, 1]
    assert model.batches == {"texts": [128], "images": [32]}


def test_nothing_to_encode_asks_nothing(service):
    assert encoder(service).encode(text_side([])).shape == (0, 4)
    assert service.requests == []


# The width


@pytest.mark.parametrize(
    "model, dim",
    [
        ("jina-clip-v1", 768),
        ("jina-clip-v2", 1024),
        ("text-embedding-3-large", 3072),
        ("x;dim=5", 5),
    ],
)
def test_the_width_of_known_models_costs_no_request(service, model, dim):
    assert encoder(service, model).dim == dim
    assert service.requests == []


def test_the_width_of_an_unknown_model_is_asked_for_once_and_counted(service):
    model = encoder(service, "bge-m3")
    assert (model.dim, model.dim) == (4, 4)
    assert [request["input"] for request in service.requests] == [["dimension"]]
    assert (model.usage["requests"], model.usage["tokens"]) == (1, 7)


def test_another_width_than_promised_is_refused(service):
    service.answer = lambda request: good(request, width=5)
    with pytest.raises(InvalidError, match="rows of width 5 for jina-clip-v2, not 4"):
        encoder(service).encode(text_side(["a"]))


# What is believed


def test_rows_are_placed_by_their_index_in_whatever_order_they_come(service):
    service.answer = changed(lambda body: body["data"].reverse())
    rows = encoder(service).encode(text_side(["a", "b", "c"]))
    np.testing.assert_allclose(rows, [unit(row_of({"text": text})) for text in "abc"], rtol=1e-6)


def test_a_zero_row_stays_zero(service):
    service.answer = changed(lambda body: body["data"][0].update(embedding=[0, 0, 0, 0]))
    assert encoder(service).encode(text_side(["a"])).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda body: body["data"].pop(), "1 embeddings for 2 inputs"),
        (lambda body: body["data"][0].update(index=1), "not 0 to 1, each once"),
        (lambda body: body["data"][0].update(index="0"), "not 0 to 1, each once"),
        (lambda body: body["data"][1].update(index=True), "not 0 to 1, each once"),
        (lambda body: body["data"][0].update(index=[]), "not 0 to 1, each once"),
        (lambda body: body["data"][0].update(embedding=[1.0]), r"several widths \(1, 4\)"),
        (lambda body: body["data"][0].update(embedding="AACAPw=="), "no list of numbers"),
        (lambda body: body["data"][0].update(embedding=["1", "2", "3", "4"]), "no list of numbers"),
        (lambda body: body["data"][0].update(embedding=[]), "no list of numbers"),
        (lambda body: body["data"][0].update(embedding=[1e300, 1, 1, 1]), "not finite"),
        (
            lambda body: body["data"][0].update(embedding=[10**400, 1, 1, 1]),
            "a number of 401 digits",
        ),
        (lambda body: body.pop("data"), "no list `data`"),
        (
            lambda body: body["data"][0].update(embedding=[float("nan"), 1, 1, 1]),
            "NaN is no number of JSON",
        ),
    ],
)
def test_an_answer_that_is_no_embedding_of_the_input_is_refused(service, waits, change, message):
    service.answer = changed(change)
    with pytest.raises(InvalidError, match=message):
        encoder(service).encode(text_side(["a", "b"]))
    assert waits == []


@pytest.mark.parametrize(
    "body, message",
    [
        ("<html>hello</html>", "no strict JSON"),
        ("[" * 100_000, "nested more than"),
        ('{"data": [], "data": []}', "the key 'data' comes twice"),
        ("[]", "no list `data`"),
    ],
)
def test_an_answer_that_is_no_answer_is_refused(service, body, message):
    service.script = [Reply(200, body)]
    with pytest.raises(InvalidError, match=message):
        encoder(service).encode(text_side(["a"]))


def test_options_of_local_models_mean_nothing_to_an_api(service):
    place = {
        "name": "remote",
        "folder": None,
        "repo": None,
        "revision": None,
        "spec": service.spec(),
    }
    defaults = {"dtype": None, "batch_images": None}
    assert build("api", place, {"dtype": None, "batch_images": 2}, defaults).name == "remote"
    with pytest.raises(ConfigError, match="--dtype means nothing to remote"):
        build("api", place, {"dtype": "float16", "batch_images": None}, defaults)


# Storing and counting


def test_the_fingerprint_changes_with_what_can_change_a_row_and_with_nothing_else(
    service, monkeypatch
):
    first = dict(encoder(service).fingerprint)
    monkeypatch.setenv("EVALS_API_KEY", KEY)
    assert dict(encoder(service, batch_images=7).fingerprint) == first
    assert first["dimensions"] == "4"
    assert encoder(service, "jina-clip-v2").fingerprint["dimensions"] == "full"
    others = [
        encoder(service, model).fingerprint
        for model in ("jina-clip-v2;dim=8", "jina-clip-v1;dim=4", "bge-m3;dim=4")
    ]
    assert all(dict(other) != first for other in others)


def test_what_was_stored_before_a_failure_is_not_asked_for_again(service, tmp_path):
    # refused whole and in halves, as often as a shard is tried
    service.script = [good, good, *[Reply(400)] * 8]
    files = [file(2, 2, i) for i in range(6)]
    with pytest.raises(InvalidError):
        Store(tmp_path, shard_rows=2).embed(encoder(service), image_side(files))
    service.script = []
    model = encoder(service)
    found = Store(tmp_path, shard_rows=2).embed(model, image_side(files))
    assert (found.encoded, model.usage["requests"]) == (2, 1)
    asked = [{"image": base64.b64encode(data).decode()} for data in files]
    np.testing.assert_allclose(found.rows, [unit(row_of(item)) for item in asked], rtol=1e-6)


def test_usage_holds_what_the_server_counts_and_what_the_published_rules_say(service):
    model = encoder(service)
    model.encode(image_side([file(512, 512), file(720, 720)]))
    service.script = [changed(lambda body: body.pop("usage"))]
    model.encode(text_side(["a"]))
    assert model.usage == {
        "requests": 2,
        "retries": 0,
        "tokens": 14,
        "unreported": 1,
        "image_tokens_expected": 4_000 + 16_000,
        "unpriced": 0,
    }
