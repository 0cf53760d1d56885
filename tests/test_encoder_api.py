"""The API encoder sends what was documented, believes only whole answers, waits as told and never shows its key."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from evals.data.images import Images
from evals.encoders import build, endpoint, pricing
from evals.encoders.api import ApiEncoder
from evals.encoders.endpoint import KEYS, read_endpoint
from evals.schema import ConfigError, InvalidError, MissingError, Side
from evals.store import Store
from tests.toys import text_side

KEY = "sk-very-secret-0123"
WIDTH = 4


class Reply(NamedTuple):
    """What the server sends: a status of 0 is none at all, only a cut connection."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


Request = dict[str, Any]
Answer = Callable[[Request], Reply]


def row_of(item: Any, width: int = WIDTH) -> list[float]:
    """The embedding of an item: it depends on the item alone."""
    digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).digest()
    return [byte - 127.5 for byte in digest[:width]]


def good(request: Request, width: int | None = None) -> Reply:
    width = width or request.get("dimensions", WIDTH)
    data = [{"index": i, "embedding": row_of(item, width)} for i, item in enumerate(request["input"])]
    return Reply(200, json.dumps({"data": data, "model": request["model"], "usage": {"total_tokens": 7 * len(data)}}))


def changed(change: Callable[[dict[str, Any]], Any]) -> Answer:
    """A good answer that `change` then edits."""

    def answer(request: Request) -> Reply:
        body = json.loads(good(request).body)
        change(body)
        return Reply(200, json.dumps(body))

    return answer


class Service(ThreadingHTTPServer):
    """A small embeddings API: answers by `script` while there is one, then by `answer`, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer | Reply] = []
        self.answer: Answer = good
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []

    def spec(self, model: str = "jina-clip-v2;dim=4") -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/embeddings#{model}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        answer = self.server.script.pop(0) if self.server.script else self.server.answer
        reply = answer if isinstance(answer, Reply) else answer(request)
        if not reply.status:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body.encode())), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body.encode())
        self.close_connection = "Content-Length" in reply.headers  # promises more than it sends

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """The waits that were asked for; none is waited."""
    asked: list[float] = []
    monkeypatch.setattr(endpoint, "_sleep", asked.append)
    for variable in (*KEYS, "EVALS_API_RPM"):
        monkeypatch.delenv(variable, raising=False)
    return asked


def encoder(service: Service, model: str = "jina-clip-v2;dim=4", **options: Any) -> ApiEncoder:
    return ApiEncoder(name="remote", spec=service.spec(model), **options)


def file(width: int, height: int, colour: int = 0, kind: str = "PNG") -> bytes:
    data = BytesIO()
    Image.new("L", (width, height), colour).save(data, kind)
    return data.getvalue()


def image_side(files: list[bytes]) -> Side:
    names = [f"{i}.png" for i in range(len(files))]
    return Side("image", Images(names, files.__getitem__), names, [hashlib.sha256(data).hexdigest() for data in files])


def items_side(items: list[Any]) -> Side:
    ids = [f"i{n}" for n in range(len(items))]
    return Side("image", items, ids, ids)


def unit(row: list[float]) -> np.ndarray:
    return np.array(row, np.float32) / np.linalg.norm(row)


# What is sent


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
    np.testing.assert_allclose(rows, [unit(row_of({"text": "a dog"})), unit(row_of({"text": "ein Hund"}))], rtol=1e-6)


def test_other_models_get_plain_strings_and_no_field_that_they_do_not_know(service):
    encoder(service, "text-embedding-3-small;dim=4").encode(text_side(["a dog"], role="query"))
    assert service.requests == [
        {"model": "text-embedding-3-small", "input": ["a dog"], "encoding_format": "float", "dimensions": 4}
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
    images = [Image.new("CMYK", (3, 2)), Image.new("RGB", (3, 2), (1, 2, 3)), "https://example.org/a.jpg"]
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
    "model, dim", [("jina-clip-v1", 768), ("jina-clip-v2", 1024), ("text-embedding-3-large", 3072), ("x;dim=5", 5)]
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
        (lambda body: body["data"][0].update(embedding=[10**400, 1, 1, 1]), "too large"),
        (lambda body: body.pop("data"), "no list `data`"),
        (lambda body: body["data"][0].update(embedding=[float("nan"), 1, 1, 1]), "NaN is no JSON number"),
    ],
)
def test_an_answer_that_is_no_embedding_of_the_input_is_refused(service, waits, change, message):
    service.answer = changed(change)
    with pytest.raises(InvalidError, match=message):
        encoder(service).encode(text_side(["a", "b"]))
    assert waits == []


@pytest.mark.parametrize(
    "body, message", [("<html>hello</html>", "no strict JSON"), ("[" * 100_000, "JSON"), ("[]", "no list `data`")]
)
def test_an_answer_that_is_no_answer_is_refused(service, body, message):
    service.script = [Reply(200, body)]
    with pytest.raises(InvalidError, match=message):
        encoder(service).encode(text_side(["a"]))


# Failures that pass


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again_after_waits_that_grow(service, waits, status):
    service.script = [Reply(status)] * 5
    model = encoder(service)
    rows = model.encode(text_side(["a"]))
    np.testing.assert_allclose(rows, [unit(row_of({"text": "a"}))], rtol=1e-6)
    assert (model.usage["requests"], model.usage["retries"]) == (6, 5)
    assert len(waits) == 5
    assert all(0 <= wait <= most for wait, most in zip(waits, (1, 2, 4, 8, 16), strict=True))


def test_a_server_that_stays_down_is_given_up_after_six_tries(service, waits):
    service.answer = lambda request: Reply(503, json.dumps({"detail": "over\ncapacity"}))
    with pytest.raises(MissingError, match=r"answers 503 \(over capacity\), 6 times"):
        encoder(service).encode(text_side(["a"]))
    assert (len(service.requests), len(waits)) == (6, 5)


@pytest.mark.parametrize("cut", [Reply(0), Reply(200, '{"data": [', {"Content-Length": "1000"})])
def test_a_cut_connection_is_tried_again(service, waits, cut):
    service.script = [cut, cut]
    model = encoder(service)
    assert model.encode(text_side(["a"])).shape == (1, 4)
    assert (model.usage["retries"], len(waits)) == (2, 2)


def test_a_server_that_is_not_there_is_named(waits):
    model = ApiEncoder(name="remote", spec="http://127.0.0.1:9/v1#m;dim=4")
    with pytest.raises(MissingError, match=r"127\.0\.0\.1:9 cannot be reached \(ConnectError"):
        model.encode(text_side(["a"]))
    assert len(waits) == 5


def test_retry_after_is_heeded_as_seconds_or_date_and_capped(service, waits):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    given = ["3", "0.5", "0", "100000", soon]
    service.script = [Reply(429, headers={"Retry-After": value}) for value in given]
    encoder(service).encode(text_side(["a"]))
    assert waits[:4] == [3, 0.5, 0, 60]
    assert 25 < waits[4] <= 30


def test_a_retry_after_in_the_past_is_no_wait_and_one_that_says_nothing_is_passed_over(service, waits):
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    service.script = [Reply(503, headers={"Retry-After": value}) for value in (past, "soon", "-5", "nan")]
    encoder(service).encode(text_side(["a"]))
    assert waits[0] == 0
    assert all(0 <= wait <= most for wait, most in zip(waits[1:], (2, 4, 8), strict=True))


def test_a_request_that_is_too_large_is_halved_until_it_fits(service, caplog):
    service.answer = lambda request: Reply(413) if len(request["input"]) > 4 else good(request)
    texts = [f"text {i}" for i in range(18)]
    model = encoder(service)
    rows = model.encode(text_side(texts))
    np.testing.assert_allclose(rows, [unit(row_of({"text": text})) for text in texts], rtol=1e-6)
    assert [len(request["input"]) for request in service.requests] == [18, 9, 4, 4, 4, 4, 2]
    assert model.batches == {"texts": [4]}
    assert "18 texts too many for a request; going on with 9" in caplog.text


def test_an_item_that_is_too_large_alone_is_named(service):
    service.answer = lambda request: Reply(413)
    with pytest.raises(InvalidError, match=r"finds image 0\.png too large \(413\)"):
        encoder(service).encode(image_side([file(2, 2)]))


def test_requests_are_spaced_when_a_rate_is_set(service, waits, monkeypatch):
    monkeypatch.setenv("EVALS_API_RPM", "120")
    monkeypatch.setattr(endpoint, "_clock", lambda: 1000.0)
    encoder(service, batch_images=1).encode(image_side([file(1, 1, i) for i in range(4)]))
    assert waits == [0.5, 1.0, 1.5]  # by a clock that stands still


@pytest.mark.parametrize("rate", ["0", "many", "-1", "inf", "9" * 400])
def test_a_rate_that_is_none_is_refused(service, monkeypatch, rate):
    monkeypatch.setenv("EVALS_API_RPM", rate)
    with pytest.raises(ConfigError, match="EVALS_API_RPM"):
        encoder(service)


# Failures that stay


@pytest.mark.parametrize(
    "status, kind, message",
    [
        (400, InvalidError, r"answers 400 \(bad thing\)"),
        (422, InvalidError, r"answers 422 \(bad thing\)"),
        (418, InvalidError, "answers 418"),
        (401, MissingError, "it wants a key. Set EVALS_API_KEY"),
        (403, MissingError, "it wants a key. Set EVALS_API_KEY"),
        (402, MissingError, "no balance left"),
        (404, ConfigError, "no such endpoint, or no model 'jina-clip-v2'"),
        (302, ConfigError, "Give the URL of the endpoint itself"),
    ],
)
def test_what_cannot_pass_is_refused_at_once(service, waits, status, kind, message):
    service.script = [Reply(status, json.dumps({"error": {"message": "bad thing"}}), {"Location": service.spec()})]
    with pytest.raises(kind, match=message) as refusal:
        encoder(service).encode(text_side(["a"]))
    assert (len(service.requests), waits) == (1, [])
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize("body", ['{"detail": [{"loc": ["input"], "msg": "x"}]}', "plain text", '["list"]', "", "[" * 100_000])
def test_the_message_of_the_server_is_shown_whatever_its_shape_and_not_in_full(service, body):
    service.script = [Reply(400, body)]
    with pytest.raises(InvalidError, match="answers 400") as refusal:
        encoder(service).encode(text_side(["a"]))
    assert len(str(refusal.value)) < 500


# The key


def test_the_first_key_of_the_environment_is_sent_and_no_header_without_one(service, monkeypatch):
    model = encoder(service)
    model.encode(text_side(["a"]))
    for variable in reversed(KEYS):
        monkeypatch.setenv(variable, f"key-of-{variable}")
        model.encode(text_side(["a"]))
    sent = [headers.get("authorization") for headers in service.headers]
    assert sent == [None, "Bearer key-of-OPENAI_API_KEY", "Bearer key-of-JINA_API_KEY", "Bearer key-of-EVALS_API_KEY"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_the_key_is_never_shown(service, monkeypatch, caplog, status):
    monkeypatch.setenv("JINA_API_KEY", KEY)
    caplog.set_level("DEBUG")
    service.answer = lambda request: Reply(status, json.dumps({"detail": f"key {KEY} is wrong"}))
    model = encoder(service)
    with pytest.raises((ConfigError, InvalidError, MissingError)) as refusal:
        model.encode(text_side(["a"]))
    shown = f"{refusal.value} {caplog.text} {vars(model)} {vars(model._server)} {model.fingerprint} {model.source} {model.usage}"
    assert service.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in shown
    if status in (401, 403):
        assert "refuses the key in JINA_API_KEY" in shown


def test_a_key_that_is_none_is_refused_without_showing_it(service, monkeypatch):
    monkeypatch.setenv("JINA_API_KEY", "two words-secret")
    with pytest.raises(ConfigError, match="JINA_API_KEY holds a space") as refusal:
        encoder(service)
    assert "secret" not in str(refusal.value)


def test_a_request_to_this_machine_goes_through_no_proxy(service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert encoder(service).encode(text_side(["a"])).shape == (1, 4)


# The spec


def test_a_spec_is_a_url_and_a_model_and_perhaps_a_width():
    url = "https://api.jina.ai/v1/embeddings"
    assert read_endpoint(f"{url}#jina-clip-v2") == (url, "jina-clip-v2", None)
    assert read_endpoint(f"{url}#jina-clip-v2;dim=512") == (url, "jina-clip-v2", 512)
    assert read_endpoint(f"{url}?api-version=2026-01#org/m:1") == (f"{url}?api-version=2026-01", "org/m:1", None)
    for local in ("http://localhost:8000/v1", "http://127.0.0.2/v1", "http://[::1]:80/v1"):
        assert read_endpoint(f"{local}#m").url == local


@pytest.mark.parametrize(
    "spec, message",
    [
        ("https://api.jina.ai/v1", "no model for api.jina.ai"),
        ("https://api.jina.ai/v1#", "no model for api.jina.ai"),
        ("https://api.jina.ai/v1#;dim=4", "no model for api.jina.ai"),
        ("https://api.jina.ai/v1#m;dim=0", "'dim=0' behind the model m means nothing"),
        ("https://api.jina.ai/v1#m;dims=4", "'dims=4' behind the model m means nothing"),
        ("https://api.jina.ai/v1#m;dim=4;dim=8", "means nothing"),
        ("http://api.jina.ai/v1#m", r"api\.jina\.ai in clear. Use https://"),
        ("http://127.0.0.1.example.org/v1#m", "in clear"),
        ("http://0.0.0.0/v1#m", "in clear"),
        ("ftp://api.jina.ai/v1#m", r"must be http\(s\)"),
        ("jina-clip-v2", r"must be http\(s\)"),
        ("https:///v1#m", r"must be http\(s\)"),
        ("https://h/\n#m", r"cannot be read|must be http\(s\)"),
        ("https://[::1/v1#m", "cannot be read"),
        ("https://h:port/v1#m", "cannot be read"),
        (f"https://me:{KEY}@h/v1#m", "carries a credential .before the @"),
        (f"https://{KEY}@h/v1#m", "carries a credential .before the @"),
        (f"https://h/v1?api_key={KEY}#m", "carries a credential .its parameter api_key"),
        (f"https://h/v1?Access-Token={KEY}#m", "carries a credential .its parameter Access-Token"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused_without_showing_a_credential(spec, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        ApiEncoder(name="remote", spec=spec)
    assert KEY not in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_options_of_local_models_mean_nothing_to_an_api(service):
    place = {"name": "remote", "folder": None, "repo": None, "revision": None, "spec": service.spec()}
    defaults = {"dtype": None, "batch_images": None}
    assert build("api", place, {"dtype": None, "batch_images": 2}, defaults).name == "remote"
    with pytest.raises(ConfigError, match="--dtype means nothing to remote"):
        build("api", place, {"dtype": "float16", "batch_images": None}, defaults)


# Storing and counting


def test_the_fingerprint_changes_with_what_can_change_a_row_and_with_nothing_else(service, monkeypatch):
    first = dict(encoder(service).fingerprint)
    monkeypatch.setenv("EVALS_API_KEY", KEY)
    assert dict(encoder(service, batch_images=7).fingerprint) == first
    assert first["dimensions"] == "4"
    assert encoder(service, "jina-clip-v2").fingerprint["dimensions"] == "full"
    others = [encoder(service, model).fingerprint for model in ("jina-clip-v2;dim=8", "jina-clip-v1;dim=4", "bge-m3;dim=4")]
    assert all(dict(other) != first for other in others)


def test_what_was_stored_before_a_failure_is_not_asked_for_again(service, tmp_path):
    service.script = [good, good, Reply(400)]
    files = [file(2, 2, i) for i in range(6)]
    with pytest.raises(InvalidError):
        Store(tmp_path, shard_rows=2).embed(encoder(service), image_side(files))
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


@pytest.mark.parametrize(
    "width, height, version, tiles, tokens",
    [
        (512, 512, "v2", 1, 4_000),
        (513, 512, "v2", 2, 8_000),
        (720, 720, "v2", 4, 16_000),
        (1080, 1080, "v2", 9, 36_000),
        (1, 1, "v2", 1, 4_000),
        (750, 500, "v1", 12, 12_000),
        (224, 224, "v1", 1, 1_000),
    ],
)
def test_images_cost_whole_tiles(width, height, version, tiles, tokens):
    assert pricing.tiles(width, height, version) == tiles
    assert pricing.image_tokens(width, height, version) == tokens


def test_only_jina_clip_has_a_published_price_and_an_image_has_pixels():
    assert [pricing.version_of(model) for model in ("jina-clip-v1", "jina-clip-v2", "bge-m3")] == ["v1", "v2", None]
    with pytest.raises(ValueError, match="0x5 pixels has no tiles"):
        pricing.tiles(0, 5, "v2")
