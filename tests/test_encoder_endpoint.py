"""A request is tried again when that can help, refused at once when it cannot, and never shows a key."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import numpy as np
import pytest

from evals.encoders import api_refusals
from evals.encoders.api import ApiEncoder
from evals.encoders.endpoint import KEYS, Endpoint, read_endpoint
from evals.schema import ConfigError, InvalidError, MissingError
from tests.api_service import KEY, Reply, encoder, file, good, image_side, row_of, unit
from tests.toys import text_side

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("waits")]

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


def test_retry_after_is_heeded_as_seconds_or_date_and_capped(service, waits, monkeypatch):
    noon = datetime(2026, 11, 29, 12, tzinfo=UTC)
    monkeypatch.setattr(api_refusals, "time", SimpleNamespace(time=noon.timestamp))
    soon = format_datetime(noon + timedelta(seconds=30), usegmt=True)
    given = ["3", "0.5", "0", "100000", soon]
    service.script = [Reply(429, headers={"Retry-After": value}) for value in given]
    encoder(service).encode(text_side(["a"]))
    assert waits == [3, 0.5, 0, 60, 30]


def test_a_retry_after_in_the_past_is_no_wait_and_one_that_says_nothing_is_passed_over(
    service, waits
):
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    service.script = [
        Reply(503, headers={"Retry-After": value}) for value in (past, "soon", "-5", "nan")
    ]
    encoder(service).encode(text_side(["a"]))
    assert waits[0] == 0
    assert all(0 <= wait <= most for wait, most in zip(waits[1:], (2, 4, 8), strict=True))


def test_a_request_that_is_too_large_is_halved_until_it_fits(service, caplog):
    service.answer = lambda request: Reply(413) if len(request["input"]) > 4 else good(request)
    texts = [f"text {i}" for i in range(18)]
    model = encoder(service)
    rows = model.encode(text_side(texts))
    np.testing.assert_allclose(rows, [unit(row_of({"text": text})) for text in texts], rtol=1e-6)
    sizes = [len(request["input"]) for request in service.requests]
    assert (sizes[:3], sorted(sizes[3:])) == ([18, 9, 4], [2, 4, 4, 4])
    assert model.batches == {"texts": [4]}
    assert "answers 413; going on with 9 texts per request in place of 18" in caplog.text


def test_an_item_that_is_too_large_alone_is_named(service):
    service.answer = lambda request: Reply(413)
    with pytest.raises(InvalidError, match=r"answers 413, for image 0\.png alone"):
        encoder(service).encode(image_side([file(2, 2)]))


def test_requests_are_spaced_when_a_rate_is_set(service, waits, monkeypatch):
    monkeypatch.setenv("EVALS_API_RPM", "120")
    model = encoder(service, batch_images=1)
    for _ in range(2):  # the second side waits for its turn, too
        model.encode(image_side([file(1, 1, i) for i in range(4)]))
    assert len(service.requests) == 8
    assert sum(waits) == pytest.approx(7 * 0.5)


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
    service.script = [
        Reply(status, json.dumps({"error": {"message": "bad thing"}}), {"Location": service.spec()})
    ]
    with pytest.raises(kind, match=message) as refusal:
        encoder(service).encode(text_side(["a"]))
    assert (len(service.requests), waits) == (1, [])
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    "body",
    ['{"detail": [{"loc": ["input"], "msg": "x"}]}', "plain text", '["list"]', "", "[" * 100_000],
)
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
    assert sent == [
        None,
        "Bearer key-of-OPENAI_API_KEY",
        "Bearer key-of-JINA_API_KEY",
        "Bearer key-of-EVALS_API_KEY",
    ]


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
    assert read_endpoint(f"{url}#jina-clip-v2") == Endpoint(url, "jina-clip-v2")
    assert read_endpoint(f"{url}#jina-clip-v2;dim=512") == Endpoint(url, "jina-clip-v2", 512)
    assert read_endpoint(f"{url}#m;answers=org/m v2;dim=8") == Endpoint(url, "m", 8, "org/m v2")
    assert read_endpoint(f"{url}?api-version=2026-01#org/m:1") == Endpoint(
        f"{url}?api-version=2026-01", "org/m:1"
    )
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
        ("https://api.jina.ai/v1#m;answers=", "means nothing"),
        ("https://api.jina.ai/v1#m;", "means nothing"),
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
