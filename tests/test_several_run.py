"""Multi-vector models are measured by MaxSim on texts and pages of one's own, and refused where one row per item is needed."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from PIL import Image

from tests.commands import ROOT, Done, run
from tests.test_own_data import manifest, measured

pytest.importorskip("sentence_transformers")

WORDS = "a red cat sits the dog runs on blue under".split()
# No two of them have the same words.
DOCS = [" ".join(WORDS[(i + j * (i // 10 + 2)) % 10] for j in range(3)) for i in range(12)]
QUERIES = [f"{WORDS[(3 * i + 1) % 10]} {WORDS[i % 10]}" for i in range(7)]
QRELS = {f"q{i}": {f"d{i}": 2, f"d{(5 * i + 3) % 12}": 1} for i in range(7)}


def beir(folder: Path, docs: list[dict[str, str]]) -> Path:
    """A BEIR folder of 7 queries and 12 documents."""
    (folder / "qrels").mkdir(parents=True)
    queries = [json.dumps({"_id": f"q{i}", "text": text}) for i, text in enumerate(QUERIES)]
    lines = [f"{q}\t{d}\t{grade}" for q, docs in QRELS.items() for d, grade in docs.items()]
    corpus = [json.dumps({"_id": f"d{i}", **doc}) for i, doc in enumerate(docs)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    (folder / "queries.jsonl").write_text("\n".join(queries))
    (folder / "qrels" / "test.tsv").write_text(
        "\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n"
    )
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several") / "texts"
    return beir(folder, [{"text": text} for text in DOCS])


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """The same with pages in place of texts, in the layout of ViDoRe as a BEIR folder."""
    folder = beir(
        tmp_path_factory.mktemp("several") / "pages",
        [{"image": f"pages/{i}.png"} for i in range(12)],
    )
    (folder / "pages").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        page = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
        page.save(folder / "pages" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def photos(pages, tmp_path_factory) -> Path:
    """The pages as images with captions."""
    folder = tmp_path_factory.mktemp("several") / "photos"
    shutil.copytree(pages / "pages", folder / "pages")
    rows = [f"pages/{i}.png,{DOCS[i]}" for i in range(12)] + [f"pages/0.png,{DOCS[3]} again"]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    return folder


def library_scores(folder: Path, docs: list) -> np.ndarray:
    """What sentence-transformers makes of queries and documents."""
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu")
    return model.similarity(model.encode_query(QUERIES), model.encode_document(docs)).numpy()


def trec_eval(scores: np.ndarray) -> dict[str, float]:
    """The mean measures of those scores by trec_eval."""
    measures = {"ndcg_cut.10", "map", "success.5"}
    run_of_scores = {
        f"q{i}": {f"d{j}": float(score) for j, score in enumerate(row)}
        for i, row in enumerate(scores)
    }
    by_query = pytrec_eval.RelevanceEvaluator(QRELS, measures).evaluate(run_of_scores).values()
    return {
        ours: float(np.mean([values[theirs] for values in by_query]))
        for ours, theirs in {
            "nDCG@10": "ndcg_cut_10",
            "MAP": "map",
            "Success@5": "success_5",
        }.items()
    }


def values(done: Done) -> dict[str, float]:
    lines = measured(done)["metrics"]
    return {
        line["metric"] + (f"@{line['k']}" if line["k"] else ""): line["value"] for line in lines
    }


def assert_measures(done: Done, scores: np.ndarray) -> None:
    assert all(len(set(row)) == len(row) for row in scores)  # trec_eval breaks ties by id
    for name, value in trec_eval(scores).items():
        assert values(done)[name] == pytest.approx(value, abs=1e-12)


def test_texts_are_ranked_as_the_library_scores_them(texts, several_model, tmp_path):
    model = f"st:{several_model}"
    done = run(f"beir:{texts}", "--model", f"toy={model}", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_measures(done, library_scores(several_model, DOCS))
    record = manifest(done, tmp_path)
    assert record["encoder"]["fingerprint"]["layout"] == "multi-vector"
    assert record["encoder"]["source"]["similarity"] == "maxsim"
    assert record["encoded"] == {"image": 0, "text": 19}
    for line in measured(done)["metrics"]:
        assert line["ci_low"] <= line["value"] <= line["ci_high"]
    again = run(f"beir:{texts}", "--model", f"toy={model}", "--json", cwd=tmp_path)
    assert manifest(again, tmp_path)["encoded"] == {"image": 0, "text": 0}


def test_pages_are_ranked_as_the_library_scores_them_and_decoded_once(
    pages, pali_model, tmp_path, monkeypatch
):
    from evals.data import images

    decoded: list[str] = []
    decode = images.decode

    def counting(data: bytes, name: str) -> Image.Image:
        decoded.append(name)
        return decode(data, name)

    monkeypatch.setattr(images, "decode", counting)
    done = run(f"beir:{pages}", "--model", f"toy=st:{pali_model}", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = [Image.open(pages / "pages" / f"{i}.png") for i in range(12)]
    assert_measures(done, library_scores(pali_model, files))
    assert len(decoded) == len(set(decoded)) == 12
    assert manifest(done, tmp_path)["encoded"] == {"image": 12, "text": 7}


def test_captions_find_their_image_in_one_direction(photos, pali_model, tmp_path):
    done = run(f"captions:{photos}", "--model", f"toy=st:{pali_model}", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = measured(done)["metrics"]
    assert {line["direction"] for line in lines} == {"t2i"}
    assert {(line["n_queries"], line["n_gallery"]) for line in lines} == {(13, 12)}
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(pali_model), device="cpu")
    captions = [*DOCS, f"{DOCS[3]} again"]
    files = [Image.open(photos / "pages" / f"{i}.png") for i in range(12)]
    scores = model.similarity(model.encode_query(captions), model.encode_document(files)).numpy()
    own = scores[np.arange(13), [*range(12), 0]]
    better = (scores > own[:, None]).sum(axis=1)
    assert values(done)["R@1"] == pytest.approx((better < 1).mean())
    assert values(done)["R@5"] == pytest.approx((better < 5).mean())


def test_records_are_compared_replayed_and_kept_with_their_best(texts, several_model, tmp_path):
    for name, options in (("one", ()), ("two", ("--max-length", "4"))):
        model = f"{name}=st:{several_model}"
        done = run(
            f"beir:{texts}", "--model", model, "--keep-top", "3", *options, "--json", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    compared = run("one", "two", cwd=tmp_path, module="evals.compare")
    assert compared.returncode == 0, compared.stderr
    assert "nDCG@10" in compared.stdout
    replayed = run("one", "--benchmark", "texts", cwd=tmp_path, module="evals.replay")
    assert replayed.returncode == 0, replayed.stderr + replayed.stdout
    elsewhere = run(
        "one", "--benchmark", "texts", "--store", "none", cwd=tmp_path, module="evals.replay"
    )
    assert elsewhere.returncode == 5
    assert "are not stored. Run the evaluation again with --store none" in elsewhere.stderr
    assert run("results/runs", cwd=tmp_path, module="evals.verify").returncode == 0
    for module in ("evals.index", "evals.mistakes"):
        done = run("one", "--benchmark", "texts", cwd=tmp_path, module=module)
        assert done.returncode == 2, done.stdout
        assert "several vectors per item" in done.stderr
    import pyarrow.parquet as pq

    (best,) = (tmp_path / "results/runs/texts/one").rglob("best.parquet")
    hits = pq.read_table(best).to_pylist()
    scores = library_scores(several_model, DOCS)
    for hit in hits:
        query, doc = int(hit["query_id"][1:]), int(hit["doc_id"][1:])
        assert hit["score"] == pytest.approx(scores[query, doc], abs=1e-5)
        assert (scores[query] > scores[query, doc] + 1e-5).sum() == hit["rank"] - 1


def test_a_dry_run_does_not_guess_how_many_vectors_there_will_be(texts, several_model, tmp_path):
    model = f"toy=st:{several_model}"
    done = run(f"beir:{texts}", "--model", model, "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [line] = json.loads(done.stdout)["dry_run"]
    assert (line["missing"], line["bytes"]) == (19, None)
    printed = run(f"beir:{texts}", "--model", model, "--dry-run", cwd=tmp_path).stdout
    assert "Together: unknown; how long it takes is not known." in printed


def test_two_workers_encode_what_one_does(texts, several_model, tmp_path):
    model = f"toy=st:{several_model}"
    done = run(f"beir:{texts}", "--model", model, "--workers", "2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_measures(done, library_scores(several_model, DOCS))


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("evals.run", ("captions:DIR", "--dims", "4"), "not cut to fewer"),
        ("evals.run", ("captions:DIR", "--keep-embeddings"), "--keep-embeddings needs one row"),
        ("evals.run", ("labels:DIR/classes",), "classification needs one row per item"),
        ("evals.mrl_sweep", ("--benchmarks", "captions:DIR", "--dims", "4,8"), "not cut to fewer"),
        (
            "evals.mrl_sweep",
            ("--benchmarks", "captions:DIR", "--dims", "8", "--precisions", "binary"),
            "--precisions needs one row per item",
        ),
        ("evals.fusion", ("captions:DIR",), "several vectors per item"),
        ("evals.probe", ("labels:DIR/classes", "--train-data", "DIR/training"), "several vectors"),
        ("evals.parity", ("--benchmark", "captions:DIR"), "several vectors per item"),
    ],
)
def test_what_needs_one_row_per_item_is_refused(
    photos, pali_model, tmp_path, module, arguments, message
):
    for side, folder in enumerate(("classes", "training"), start=20):
        for name in ("cat", "dog"):
            (photos / folder / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, 20), "red").save(photos / folder / name / "a.png")
    words = [word.replace("DIR", str(photos)) for word in arguments]
    model = f"st:{pali_model}"
    named = (model, model) if module == "evals.parity" else ("--model", f"toy={model}")
    done = run(*words, *named, cwd=tmp_path, module=module)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.fixture(scope="module")
def mixed(pages, tmp_path_factory) -> Path:
    """Documents that are a text, a page, or a page with its text, by turns."""
    docs = [
        {name: value for name, value in _both(i).items() if i % 3 == 2 or name == KINDS[i % 3]}
        for i in range(12)
    ]
    folder = beir(tmp_path_factory.mktemp("several") / "mixed", docs)
    shutil.copytree(pages / "pages", folder / "pages")
    return folder


KINDS = ("text", "image")


def _both(i: int) -> dict[str, str]:
    return {"text": DOCS[i], "image": f"pages/{i}.png"}


def library_items(folder: Path) -> list[dict]:
    """The documents of `mixed` as the library takes them."""
    items = []
    for line in (folder / "corpus.jsonl").read_text().splitlines():
        doc = json.loads(line)
        item = {"text": doc["text"]} if "text" in doc else {}
        if "image" in doc:
            item["image"] = Image.open(folder / doc["image"]).convert("RGB")
        items.append(item)
    return items


def test_texts_pages_and_pages_with_their_text_are_ranked_together(
    mixed, reader_model, tmp_path, monkeypatch
):
    from evals.data import images

    decoded: list[str] = []
    decode = images.decode

    def counting(data: bytes, name: str) -> Image.Image:
        decoded.append(name)
        return decode(data, name)

    monkeypatch.setattr(images, "decode", counting)
    command = (f"beir:{mixed}", "--model", f"toy=st:{reader_model}", "--json", "--keep-top", "3")
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    items = library_items(mixed)
    assert [len(item) for item in items[:3]] == [1, 1, 2]
    assert_measures(done, library_scores(reader_model, items))
    assert len(decoded) == len(set(decoded)) == 8
    assert manifest(done, tmp_path)["encoded"] == {"image": 4, "text": 4 + 7, "text+image": 4}
    again = run(*command, cwd=tmp_path)
    assert set(manifest(again, tmp_path)["encoded"].values()) == {0}
    assert len(decoded) == 8
    replayed = run("toy", "--benchmark", "mixed", cwd=tmp_path, module="evals.replay")
    assert replayed.returncode == 0, replayed.stderr + replayed.stdout
    shared = run(*command, "--workers", "2", "--store", "another", cwd=tmp_path)
    assert shared.returncode == 0, shared.stderr
    assert values(shared) == values(done)
    assert manifest(shared, tmp_path)["encoded"]["text+image"] == 4


def test_pages_with_their_text_are_refused_before_the_other_documents_are_encoded(
    mixed, pali_model, tmp_path
):
    done = run(f"beir:{mixed}", "--model", f"toy=st:{pali_model}", cwd=tmp_path)
    assert done.returncode == 2
    assert "no item that has both: 'd2' and 3 others have" in done.stderr
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1  # the queries


def test_the_commands_of_the_page_run(pages, photos, pali_model, tmp_path):
    page = (ROOT / "docs" / "visual-documents.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    places = {
        "path/to/pages": str(pages),
        "path/to/photos": str(photos),
        "path/to/colpali": str(pali_model),
    }
    for line in block.splitlines():
        for place, folder in places.items():
            line = line.replace(place, folder)
        words = shlex.split(line)
        assert words[:2] == ["python", "-m"]
        done = run(*words[3:], cwd=tmp_path, module=words[2])
        assert done.returncode == 0, done.stderr
        if "captions:" not in line and words[2] == "evals.run":
            (shown,) = re.findall(r"^pages · colpali\n(    dim .*)\nall ", page, re.MULTILINE)
            assert shown.split() == done.stdout.splitlines()[1].split()
