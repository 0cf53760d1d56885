"""A server that is slow, endless, sparing, or not what it says costs no wrong row, no endless wait and no memory."""

import asyncio
import json
import threading
import time
from types import SimpleNamespace

import anyio
import numpy as np
import pytest

from evals.embeddings.store import Store
from evals.encoders import api_server
from evals.encoders.api_server import SIDE_BY_SIDE, Pace, wait_for
from evals.schema import ConfigError, EncoderInfo, InvalidError, MissingError
from tests.api_service import (
    KEY,
    Raw,
    Reply,
    changed,
    dripping,
    encoder,
    endless,
    file,
    good,
    image_side,
    row_of,
    slow_head,
    unit,
)
from tests.toys import text_side

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("waits")]


def texts(count: int):
    return text_side([f"text {i}" for i in range(count)])


def rows_of(side) -> list[np.ndarray]:
    return [unit(row_of({"text": text})) for text in side.items]


# Side by side


def test_requests_run_side_by_side_and_rows_keep_their_order(service):
    together = threading.Barrier(SIDE_BY_SIDE)

    def later_ones_answer_first(request):
        together.wait(timeout=60)  # breaks unless so many requests are there at once
        position = int(request["input"][0]["text"].removeprefix("text "))
        time.sleep((516 - position) / 5_000)
        return good(request)

    service.script = [good, *[later_ones_answer_first] * SIDE_BY_SIDE]
    model, side = encoder(service), texts(128 * (1 + SIDE_BY_SIDE))
    np.testing.assert_allclose(model.encode(side), rows_of(side), rtol=1e-6)
    assert model.usage["retries"] == 0


def test_a_server_that_takes_one_request_at_a_time_gets_one_at_a_time(service, waits):
    busy, refused = threading.Lock(), threading.Semaphore(0)

    def sparing(request):
        if not busy.acquire(blocking=False):
            refused.release()
            return Reply(429)
        try:
            return good(request)
        finally:
            busy.release()

    def lasting(request):
        """Until as many were refused as run beside it."""
        with busy:
            assert all(refused.acquire(timeout=60) for _ in range(SIDE_BY_SIDE - 1))
            return good(request)

    service.script, service.answer = [good, lasting], sparing
    model, side = encoder(service, batch_images=1), image_side([file(1, 1, i) for i in range(30)])
    model.encode(side)
    assert model.usage["retries"] >= SIDE_BY_SIDE - 1
    model.usage["retries"] = 0
    model.encode(side)
    assert model.usage["retries"] == 0


def test_a_failure_beside_good_answers_is_told_as_itself(service):
    def refuses_the_last(request):
        return Reply(401) if {"text": "text 600"} in request["input"] else good(request)

    service.answer = refuses_the_last
    with pytest.raises(MissingError, match="it wants a key"):
        encoder(service).encode(texts(601))


def test_a_rest_that_the_server_asks_for_is_everyone_s(waits):
    pace = Pace(0.5)

    async def turns():
        pace.rest(30.0)
        for _ in range(3):
            await pace.turn()

    wait_for(turns)
    assert waits == [30, 0.5, 0.5]


def test_it_encodes_inside_of_an_event_loop_as_notebooks_have(service):
    async def cell():
        return encoder(service).encode(texts(3))

    np.testing.assert_allclose(asyncio.run(cell()), rows_of(texts(3)), rtol=1e-6)


# Requests that are too much


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("most", [10, 32])
def test_a_server_that_takes_fewer_items_gets_fewer(service, status, most):
    refusal = Reply(status, json.dumps({"error": f"batch size > {most}"}))
    service.answer = lambda request: refusal if len(request["input"]) > most else good(request)
    model, side = encoder(service), texts(300)
    np.testing.assert_allclose(model.encode(side), rows_of(side), rtol=1e-6)
    assert model.batches == {"texts": [8 if most == 10 else 32]}
    refused = model.usage["requests"] - len(side) // model.batches["texts"][0] - 1
    assert refused == (4 if most == 10 else 2)  # one at a time, before they run side by side


def test_the_item_that_a_server_refuses_is_named(service):
    def refuses_one(request):
        bad = {"text": "text 77"} in request["input"]
        return Reply(422, json.dumps({"detail": "no such word"})) if bad else good(request)

    service.answer = refuses_one
    with pytest.raises(InvalidError, match=r"answers 422 \(no such word\), for text t77 alone"):
        encoder(service).encode(texts(200))


def test_a_server_that_is_slow_for_many_gets_fewer(service, monkeypatch):
    # The first request is given up soon. The others have all the time that a busy machine may need.
    seconds = iter([0.2])
    impatient = SimpleNamespace(**vars(anyio))
    impatient.fail_after = lambda limit: anyio.fail_after(next(seconds, limit))
    monkeypatch.setattr(api_server, "anyio", impatient)
    released = threading.Event()

    def slow(request):
        assert len(request["input"]) <= 2 or released.wait(60)
        return good(request)

    service.answer = slow
    model = encoder(service)
    np.testing.assert_allclose(model.encode(texts(4)), rows_of(texts(4)), rtol=1e-6)
    released.set()
    assert model.batches == {"texts": [2]}


# Bounds


@pytest.mark.parametrize("parts", [dripping, slow_head])
def test_an_answer_that_never_ends_is_given_up(service, monkeypatch, parts):
    monkeypatch.setattr(api_server, "ANSWER_SECONDS", 0.9)
    service.answer = lambda request: Raw(parts)
    with pytest.raises(MissingError, match=r"no whole answer within 0\.9 seconds, for text t0"):
        encoder(service).encode(texts(2))
    assert [len(request["input"]) for request in service.requests] == [2, 1]


def test_an_answer_that_grows_without_end_is_cut_off(service, monkeypatch):
    monkeypatch.setattr(api_server, "ANSWER_BYTES", 1 << 20)
    service.answer = lambda request: Raw(endless)
    with pytest.raises(InvalidError, match="answers with more than 1,048,576 bytes, for text t0"):
        encoder(service).encode(texts(1))


def test_a_refusal_that_grows_without_end_is_cut_off(service):
    def refusing():
        answer = endless()
        yield next(answer).replace(b"200 OK", b"404 Not Found")
        yield from answer

    service.answer = lambda request: Raw(refusing)
    with pytest.raises(ConfigError, match="no such endpoint"):
        encoder(service).encode(texts(1))


def test_a_compressed_answer_is_refused_because_it_may_unpack_to_any_size(service):
    service.script = [Reply(200, "packed", {"Content-Encoding": "gzip"})]
    with pytest.raises(InvalidError, match="in the encoding gzip, which was not asked for"):
        encoder(service).encode(texts(1))
    assert service.headers[0]["accept-encoding"] == "identity"


# Who answers


def named(model):
    return changed(lambda body: body.update(model=model))


def test_the_name_that_the_server_gives_its_model_is_recorded(service):
    model = encoder(service)
    assert model.source["answered"] is None
    model.encode(texts(1))
    assert EncoderInfo.read(model).source["answered"] == "jina-clip-v2"


def test_another_model_than_was_asked_for_is_refused_with_the_remedy(service, tmp_path):
    service.answer = named("fallback-v1")
    with pytest.raises(
        InvalidError, match=r"asked for jina-clip-v2, .* by 'fallback-v1'.* ;answers=fallback-v1 "
    ):
        Store(tmp_path).embed(encoder(service), texts(1))
    model = encoder(service, "jina-clip-v2;dim=4;answers=fallback-v1")
    assert Store(tmp_path).embed(model, texts(1)).encoded == 1
    assert model.source["answered"] == "fallback-v1"


@pytest.mark.parametrize("first, second", [("jina-clip-v2", "fallback-v1"), (None, "jina-clip-v2")])
def test_a_model_that_changes_within_a_run_stops_it(service, tmp_path, first, second):
    service.script = [named(first)]
    service.answer = named(second)
    with pytest.raises(InvalidError, match=f"{second}"):
        Store(tmp_path).embed(encoder(service), texts(300))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_server_that_names_no_model_is_believed(service):
    service.answer = changed(lambda body: body.pop("model"))
    model = encoder(service)
    model.encode(texts(1))
    assert model.source["answered"] is None


def test_an_error_in_an_answer_that_calls_itself_good_is_shown_without_the_key(
    service, monkeypatch
):
    monkeypatch.setenv("EVALS_API_KEY", KEY)
    body = {"error": {"code": 429, "message": f"quota of {KEY} is used up"}}
    service.script = [Reply(200, json.dumps(body))]
    with pytest.raises(
        InvalidError, match=r"no list `data` of objects \(quota of \*\*\* is used up\)"
    ):
        encoder(service).encode(texts(1))
