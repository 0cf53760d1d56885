"""The table of costs is reckoned, not typed: from rates and sizes that the page names."""

import pytest

from benchmarks.scale_costs import INPUTS, PAGE, block, costs, with_block
from evals.reading import read_yaml


def test_the_page_holds_what_the_command_writes():
    page = PAGE.read_text(encoding="utf-8")
    assert with_block(page, block()) == page, "run python -m benchmarks.scale_costs --write"


def test_a_table_that_was_changed_is_seen():
    page = PAGE.read_text(encoding="utf-8")
    assert with_block(page.replace("| 100,000,000 |", "| 100,000,001 |"), block()) == page


def test_a_cost_by_hand():
    inputs = {
        "dim": 1024,
        "rates": {"image": {"amount": 10, "seconds": 2}, "text": {"per_second": 100}},
        "end_to_end": {"image": {"amount": 10, "seconds": 20}},
        "sizes": [
            {"name": "photos", "sides": [{"kind": "image", "items": 600, "bytes": 1000}]},
            {"name": "words", "sides": [{"kind": "text", "items": 50, "tokens": 4, "bytes": 9}]},
        ],
    }
    photos, words = costs(inputs)
    assert (photos.tower, photos.piped, words.tower, words.piped) == (120.0, 1200.0, 2.0, None)
    # three shards of at most 256 images, each a file of rows and a sidecar
    assert (photos.files, photos.rows, photos.index) == (6, 600 * 4096, 600 * 24)
    assert photos.inputs == 600_000
    assert photos.sidecars == pytest.approx(600 * 67, rel=0.05)  # 64 digits and ,""
    assert photos.network == photos.inputs + 2 * (photos.rows + photos.sidecars)


def test_the_shards_of_crossmodal_are_as_many_as_a_run_wrote():
    crossmodal = costs(read_yaml(INPUTS))[0]
    assert crossmodal.files / 2 == pytest.approx(160, abs=2)
