"""The selectors, proved: records made of the published single numbers give the published averages back."""

from pathlib import Path

import pytest

from evals.records.identity import Named
from evals.report.measured import Records
from evals.report.names import quantities
from evals.report.published_csv import published, slug
from evals.report.tables import table, table_names
from tests.published_toys import of_published, write_languages, write_singles

ROUNDING = 0.0101  # a mean of printed numbers, beside its own print
WRONG_IN_PRINT = "Zero-shot Text Retrieval - Recall@5 [%] / Average / JinaCLIP stage 2"  # 90.59 above rows whose mean is 90.56
V1_TASKS = [f"v1paper-t{n}" for n in (5, 6, 7, 8, 9, 11, 12)]


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Records:
    root = tmp_path_factory.mktemp("v1")
    write_singles(root, ["v1paper-t3", *V1_TASKS])
    return Records(root)


@pytest.fixture(scope="module")
def v1_recall(tmp_path_factory: pytest.TempPathFactory) -> Records:
    root = tmp_path_factory.mktemp("v1_recall")
    write_singles(root, ["v1paper-t10"])
    return Records(root)


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Records:
    root = tmp_path_factory.mktemp("languages")
    write_singles(root, ["jev4paper-a8", "jev4paper-a9", "jev4paper-a10"])
    return Records(root)


def averages(name: str) -> list:
    """The cells of a table that stand for more than one number."""
    return [
        (where, cell)
        for where, cell in table(name).cells
        if sum(map(len, cell.selector.groups)) > 1 and not cell.base
    ]


def off(records: Records, name: str) -> dict[str, float]:
    """How far the mean of the records is from each printed average, by the cell's place."""
    found = {}
    for where, cell in averages(name):
        mean = records.mean(Named(name=slug(cell.published.model)), cell.selector)
        if mean.value is not None:
            found[where] = abs(100 * mean.value - cell.published.value)
    return found


@pytest.mark.parametrize(
    ("name", "n"), [("v1paper-t3", 18), *((name, 7) for name in V1_TASKS[:-1])]
)
def test_every_average_of_the_v1_paper_comes_back(v1, name, n):
    found = off(v1, name)
    assert len(found) == n
    assert {where for where, value in found.items() if value > ROUNDING} == (
        {WRONG_IN_PRINT} if name == "v1paper-t3" else set()
    )


def test_the_average_of_37_sets_comes_back_for_all_six_models(v1):
    found = {
        where: value for where, value in off(v1, "v1paper-t3").items() if "Classification" in where
    }
    assert len(found) == 6 and max(found.values()) <= ROUNDING


def test_the_summary_tables_of_the_v1_paper_come_back_but_for_the_known_contradictions(v1):
    """Table 1 prints other nDCG@10 of the CLIP models than Tables 4 and 9, and repeats an average that Table 3 has wrong."""
    assert max(off(v1, "v1paper-t4").values()) <= ROUNDING
    wrong = {where for where, value in off(v1, "v1paper-t1").items() if value > ROUNDING}
    clip = ("OpenAI CLIP ViT B/16", "EVA-CLIP ViT B/16", "LongCLIP ViT B/16")
    assert wrong == {f"{model} / Retrieval ndcg@10" for model in clip} | {
        "jina-clip-v1 stage 2 / img-txt r@5"
    }


def test_the_recall_average_of_mteb_comes_back(v1_recall):
    found = off(v1_recall, "v1paper-t10") | off(v1_recall, "v1paper-t1")
    assert len(found) == 14 and max(found.values()) <= ROUNDING


def test_table_1_is_covered_by_the_two_sets_of_records(v1, v1_recall):
    """jina-embeddings-v2 has no cross-modal numbers, all others have two; five of every model's six are means."""
    assert len(off(v1, "v1paper-t1")) == 6 * 2 + 7 * 3
    assert len(averages("v1paper-t1")) == 6 * 2 + 7 * 4


@pytest.mark.parametrize(
    ("benchmark", "model", "printed", "unit"),
    [
        ("crossmodal3600", "nllb-siglip-large", "82.07", "26 languages"),
        ("crossmodal3600", "jina-clip-v2", "81.43", "26 languages"),
        ("multilingual_mscoco", "jina-clip-v2", "84.87", "10 languages"),
        ("multilingual_mscoco", "nllb-siglip-large", "87.60", "10 languages"),
        ("CLIP Benchmark avg (4 tasks)", "nllb-siglip-large", "83.19", "4 tasks"),
        ("CLIP Benchmark avg (4 tasks)", "jina-clip-v2", "81.12", "4 tasks"),
    ],
)
def test_averages_over_languages_come_back(languages, benchmark, model, printed, unit):
    selector = of_published(benchmark, "recall@5", direction="t2i")
    mean = languages.mean(Named(name=model), selector)
    assert mean.value is not None and f"{100 * mean.value:.2f}" == printed
    assert f"{mean.of} {selector.unit}" == unit


@pytest.mark.parametrize(
    ("benchmark", "direction", "printed"),
    [
        ("crossmodal3600", "i2t", "80.16"),
        ("crossmodal3600", "t2i", "82.07"),
        ("multilingual_mscoco", "i2t", "85.37"),
        ("multilingual_mscoco", "t2i", "87.60"),
    ],
)
def test_the_file_of_open_clip_gives_the_averages_of_nllb(
    tmp_path: Path, benchmark, direction, printed
):
    write_languages(tmp_path, "openclip-multilingual", direction)
    mean = Records(tmp_path).mean(
        Named(name="nllb-siglip-large"), of_published(benchmark, "recall@5", direction=direction)
    )
    assert mean.value is not None and f"{100 * mean.value:.2f}" == printed


def test_vidore_and_english_averages_come_back(tmp_path: Path):
    write_singles(tmp_path, ["jev4paper-a3", "v2post-flickr30k", "v2post-coco"])
    records = Records(tmp_path)
    assert max(off(records, "jev4paper-a3").values()) <= ROUNDING
    assert max(off(records, "v2paper-t2").values()) <= 0.051  # the post prints one digit


def test_every_published_number_of_a_table_has_exactly_one_cell():
    """All but the 46% that the v1 post's text has beside its table."""
    for name in table_names():
        cells = [cell.published for _, cell in table(name).cells]
        left = [number.printed for number in published()[name] if number not in cells]
        assert len(set(cells)) == len(cells)
        assert left == (["46%"] if name == "v1post-summary" else []), name


def test_member_lists_have_the_published_lengths():
    sizes = {name: len(row.of) for name, row in quantities().items()}
    assert {name: sizes[name] for name in ("crossmodal3600", "multilingual_mscoco", "xtd10", "average-37-datasets")} == {
        "crossmodal3600": 26, "multilingual_mscoco": 10, "xtd10": 27, "average-37-datasets": 37
    }  # fmt: skip
    assert sum(map(len, of_published("MTEB (56 datasets)", "avg_score").groups)) == 56
