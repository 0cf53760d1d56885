"""A server that misbehaves at random costs time or the run, and never a wrong row."""

import json
import random
from typing import Any

import numpy as np
import pytest

from evals.embeddings.store import Store
from evals.schema import EvalError
from tests.api_service import KEY, Answer, Reply, Request, changed, encoder, good, row_of, unit
from tests.faults import SEED, leftovers, rounds
from tests.toys import text_side

pytestmark = pytest.mark.usefixtures("waits")

TEXTS = [f"text {number}" for number in range(40)]
ROWS = np.array([unit(row_of({"text": text})) for text in TEXTS])


def rows_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    return body["data"]


def shuffled(request: Request) -> Reply:
    """Every row, with its index, in another order."""
    body = json.loads(good(request).body)
    random.Random(len(request["input"])).shuffle(body["data"])
    return Reply(200, json.dumps(body))


BEHAVIOURS: dict[str, Answer | Reply] = {
    "other order": shuffled,
    "busy": Reply(429),
    "busy, and says how long": Reply(429, headers={"Retry-After": "3"}),
    "a date to come back": Reply(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
    "broken": Reply(500, "<html>"),
    "gateway": Reply(502),
    "too much": Reply(413),
    "refused": Reply(400, '{"error": {"message": "at most 8 inputs"}}'),
    "cut": Reply(0),
    "half an answer": Reply(200, '{"data": [', {"Content-Length": "1000"}),
    "redirect": Reply(307, headers={"Location": "http://127.0.0.1:9/"}),
    "no JSON": Reply(200, "busy"),
    "NaN": Reply(200, '{"data": [{"index": 0, "embedding": [NaN, 1, 1, 1]}]}'),
    "an error in a good answer": Reply(200, '{"error": {"message": "overloaded"}}'),
    "a row less": changed(lambda body: rows_in(body).pop()),
    "a row twice": changed(lambda body: rows_in(body).append(rows_in(body)[0])),
    "an index twice": changed(lambda body: rows_in(body)[-1].update(index=0)),
    "another width": changed(lambda body: rows_in(body)[0]["embedding"].append(1.0)),
    "text for a number": changed(lambda body: rows_in(body)[0].update(embedding=["1"] * 4)),
    "another model": changed(lambda body: body.update(model="other")),
}


def test_a_server_that_misbehaves_costs_no_row(service, tmp_path, record_property):
    failed = 0
    cases = range(SEED, SEED + rounds(15, 300))
    for case in cases:
        rng = random.Random(case)
        names = rng.sample(sorted(BEHAVIOURS), 2)
        share = rng.choice([0.1, 0.5, 1.0])

        def answer(request: Request, rng=rng, names=names, share=share) -> Any:
            behaviour = BEHAVIOURS[rng.choice(names)] if rng.random() < share else good
            return behaviour if isinstance(behaviour, Reply) else behaviour(request)

        service.answer = answer
        root, what = tmp_path / str(case), f"seed {case}: {names}"
        try:
            rows = Store(root, shard_rows=10).embed(encoder(service), text_side(TEXTS)).rows
        except EvalError as error:
            failed += 1
            assert KEY not in str(error), what
        else:
            np.testing.assert_allclose(rows, ROWS, rtol=1e-6, err_msg=what)
        service.answer = good
        result = Store(root, shard_rows=10).embed(encoder(service), text_side(TEXTS))
        np.testing.assert_allclose(result.rows, ROWS, rtol=1e-6, err_msg=what)
        assert not leftovers(root), what
    assert 0 < failed < len(cases)
    record_property("faults: runs with an API that misbehaves", len(cases))
