"""Parity of models of other libraries, and the page of a certificate in a browser."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from evals.encoders.open_clip import OpenClipEncoder
from evals.encoders.sentence_transformers import SentenceTransformersEncoder
from evals.parity.certificate import certify
from evals.parity.page import as_html
from evals.parity.pins import pinned_probe
from evals.parity.probe import Runner
from evals.parity.runners import runner_of
from evals.parity.tolerances import Tolerances
from tests.api_service import Reply
from tests.parity_models import picture_of, server, tiny

PINNED = pinned_probe()
TEXTS = replace(PINNED, parts={}, shaped={"text": PINNED.shaped["text"]})
PROBE = replace(PINNED, parts={"en": PINNED.parts["en"]})


def st(folder, change=lambda model: None) -> Runner:
    encoder = SentenceTransformersEncoder(name="text", spec=str(folder))
    change(encoder.model)
    return Runner("text", encoder)


def pooled_by_first(model):
    model[1].pooling_mode = "cls"


def padded_left(model):
    model.tokenizer.padding_side = "left"


def cut_at_eight(model):
    model.max_seq_length = 8


@pytest.mark.parametrize(
    ("change", "cause"),
    [(pooled_by_first, "pool_cls"), (padded_left, "padding_left")],
)
def test_faults_of_sentence_transformers_are_named(text_model, change, cause):
    certificate = certify(TEXTS, st(text_model), st(text_model, change), Tolerances())
    assert certificate.verdict == "differs"
    assert cause in [found.name for found in certificate.causes if found.certainty == "reproduced"]


def test_the_same_sentence_transformers_model_is_the_same(text_model):
    assert certify(TEXTS, st(text_model), st(text_model), Tolerances()).verdict == "same"


def test_exchanged_colours_are_named_for_open_clip(vit):
    a = OpenClipEncoder(name="vit", spec=vit)
    b = OpenClipEncoder(name="vit", spec=vit)
    plain = b._images
    # as cv2 reads a file
    b._images = lambda model, preprocess, side: plain(
        model, lambda image: preprocess(picture_of(np.asarray(image)[:, :, ::-1])), side
    )
    certificate = certify(PROBE, Runner("a", a), Runner("b", b), Tolerances())
    assert certificate.causes[0].cause == "colour order"


@pytest.mark.usefixtures("waits")
def test_a_server_that_does_not_normalise_is_found_out(service):
    def answered(request):
        rows = tiny().encoder.model.encode_text([entry["text"] for entry in request["input"]])
        data = [{"index": i, "embedding": (3 * row).tolist()} for i, row in enumerate(rows)]
        return Reply(200, json.dumps({"data": data, "model": request["model"]}))

    service.answer = answered
    server_runner = runner_of(f"api:{service.spec('jina-clip-v9;dim=256')}", [])
    texts = replace(TEXTS, shaped={"text": TEXTS.shaped["text"].select(range(8))})
    certificate = certify(texts, tiny(), server_runner, Tolerances())
    assert certificate.verdict == "differs"
    assert certificate.causes[0].name == "not_normalised"
    assert certificate.groups[0].norm_b == pytest.approx(3)


CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    hostile = replace(server("prompt"), label="<script>alert(1)</script> \u202e")
    certificate = certify(TEXTS, tiny(), hostile, Tolerances())
    path = tmp_path_factory.mktemp("page") / "parity.html"
    path.write_text(as_html(certificate), encoding="utf-8")
    return path


def test_the_page_is_whole_and_escapes_what_it_is_told(page):
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text and "\u202e" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "with its instruction for queries" in text and text.count("<h2>") == 3


@pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)
def test_the_page_fits_three_widths_and_loads_nothing(page):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    arguments = "--no-sandbox --disable-gpu --disable-background-networking --disable-sync".split()
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for width in (390, 820, 1280):
            window = browser.new_page(viewport={"width": width, "height": 900})
            asked, complaints = [], []
            window.on("request", lambda request, asked=asked: asked.append(request.url))
            window.on("console", lambda m, complaints=complaints: complaints.append(m.text))
            window.goto(page.as_uri())
            assert window.evaluate("document.documentElement.scrollWidth") <= width
            assert window.locator("svg circle").count() == window.locator("table").first.locator("tbody tr").count()  # fmt: skip
            assert asked == [page.as_uri()] and not complaints
        browser.close()


def test_zero_rows_on_both_sides_are_no_difference(text_model):
    class Silent:
        name, dim, fingerprint = "silent", 4, {"weights": "none"}

        def encode(self, side):
            return np.zeros((len(side), 4), np.float32)

    certificate = certify(TEXTS, Runner("a", Silent()), Runner("b", Silent()), Tolerances())
    assert certificate.verdict == "same"
