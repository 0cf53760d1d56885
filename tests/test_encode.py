"""Several processes, by claims or by a plan, make the store that one makes, to the byte."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from evals.evaluation.encoding_plan import Part, items_of_part, parse_part, read_plan
from evals.evaluation.outcome import encoded_words
from evals.schema import ConfigError
from tests.commands import ROOT, run

# 260 images in two shards, 520 texts in one for each language.
WORK = ("scenes", "--model", "tiny", "--limit", "260", "--subsets", "en,de")


def encode(*arguments: object, cwd: Path):
    return run(*arguments, cwd=cwd, module="evals.encode")


def bytes_of(store: Path) -> dict[str, str]:
    files = [path for path in store.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """What a run leaves that is alone."""
    folder = tmp_path_factory.mktemp("alone")
    done = run(*WORK, "--store", "store", "--results", "runs", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Path:
    """A folder with a plan."""
    folder = tmp_path_factory.mktemp("planned")
    done = encode(*WORK, "--store", "store", "--make-plan", "plans/plan.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    digest = json.loads((folder / "plans/plan.json").read_text())["sha256"]
    assert done.stdout == (f"wrote plans/plan.json: 1,196 items in 4 shards, sha256 {digest}\n")
    assert not (folder / "store").exists()
    return folder


def test_what_was_encoded_is_told_of_all_kinds():
    assert encoded_words({"image": 0, "text": 1}) == "0 images and 1 text"
    words = encoded_words({"image": 1, "text": 1200, "text+image": 4})
    assert words == "1 image, 1,200 texts and 4 text+images"


def test_the_parts_of_a_plan_in_any_order_make_the_store_of_a_run(alone, planned):
    plan = ("--store", "store", "--plan", "plans/plan.json", "--json")
    counts = {}
    for shard in ("3/3", "1/3", "2/3"):
        done = encode(*WORK, *plan, "--shard", shard, cwd=planned)
        assert done.returncode == 0, done.stderr
        counts[shard] = json.loads(done.stdout)["encoded"]
    assert counts["1/3"]["image"] == 256 and counts["2/3"]["image"] == 4
    assert sum(count["text"] for count in counts.values()) == 936
    # what the line on a terminal counts down from
    plan_file = read_plan(planned / "plans" / "plan.json")
    for shard, count in counts.items():
        assert items_of_part(plan_file, parse_part(shard))["scenes", "tiny"] == Counter(count)
    assert bytes_of(planned / "store") == bytes_of(alone / "store")
    # done again, as a scheduler may: nothing is encoded
    again = encode(*WORK, *plan, "--shard", "1/3", cwd=planned)
    assert json.loads(again.stdout)["encoded"] == {"image": 0, "text": 0}


def test_what_parts_of_different_n_leave_out_is_what_another_plan_holds(tmp_path):
    work = (*WORK, "--store", "store")
    assert encode(*work, "--make-plan", "plan.json", cwd=tmp_path).returncode == 0
    # Of four shards 1/3 takes the first and the fourth, and 2/4 the second.
    for shard in ("1/3", "2/4"):
        done = encode(*work, "--plan", "plan.json", "--shard", shard, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    rest = encode(*work, "--make-plan", "rest.json", "--json", cwd=tmp_path)
    assert json.loads(rest.stdout)["shards"] == 1
    encode(*work, "--plan", "rest.json", "--shard", "1/1", cwd=tmp_path)
    rest = encode(*work, "--make-plan", "rest.json", cwd=tmp_path)
    assert rest.stdout.startswith("wrote rest.json: 0 items in 0 shards, ")


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    """Two images of which one is cut off, and a caption of each."""
    folder = tmp_path_factory.mktemp("broken") / "captions"
    folder.mkdir()
    lines = [{"image": f"{name}.png", "captions": [name]} for name in ("a", "b")]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    image = (ROOT / "tests/golden/scene.png").read_bytes()
    (folder / "a.png").write_bytes(image)
    (folder / "b.png").write_bytes(image[:-100])
    return folder


@pytest.mark.parametrize("planned", [(), ("--plan", "plan.json", "--shard", "1/1")])
def test_a_shard_that_cannot_be_encoded_is_named_and_the_rest_is_stored(broken, tmp_path, planned):
    work = (f"captions:{broken}", "--model", "tiny", "--store", "store")
    if planned:
        assert encode(*work, "--make-plan", "plan.json", cwd=tmp_path).returncode == 0
    done = encode(*work, *planned, cwd=tmp_path)
    assert done.returncode == 3 and not done.stdout
    message = "tiny: 1 shard could not be encoded, in 3 tries each. 2 images, a.png to b.png: "
    assert message in done.stderr and "b.png: the image is broken" in done.stderr
    # the texts
    assert len(list(tmp_path.glob("store/*/*.safetensors"))) == 1


def test_without_a_plan_all_that_is_missing_is_encoded(alone, tmp_path):
    done = encode(*WORK, "--store", "store", cwd=tmp_path)
    assert done.stdout == "encoded 260 images and 936 texts; the rest was stored\n"
    assert bytes_of(tmp_path / "store") == bytes_of(alone / "store")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*WORK, "--max-length", "39"), "was not made of this scenes by this tiny"),
        ((*WORK[:5], "--subsets", "en"), "was not made of this scenes by this tiny"),
        (("scenes", "--model", "other=tiny"), "was not made of this scenes by this other"),
    ],
)
def test_a_plan_of_other_data_or_another_model_is_refused(planned, arguments, message):
    plan = ("--plan", "plans/plan.json", "--shard", "1/1", "--store", "elsewhere")
    done = encode(*arguments, *plan, cwd=planned)
    assert done.returncode == 2 and message in done.stderr
    assert not (planned / "elsewhere").exists()


def test_a_plan_that_was_changed_is_refused(planned):
    text = (planned / "plans/plan.json").read_text()
    (planned / "changed.json").write_text(text.replace("[[0,256]]", "[[0,255]]"))
    plan = ("--plan", "changed.json", "--shard", "1/1")
    done = encode(*WORK, *plan, cwd=planned)
    assert done.returncode == 3 and "its hash does not match. Make it anew" in done.stderr


@pytest.mark.parametrize("text", ["{}", "[]", '{"schema_version": 1}', "no json"])
def test_what_is_no_plan_is_refused(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    done = encode(*WORK, "--plan", "plan.json", "--shard", "1/1", cwd=tmp_path)
    assert done.returncode == 3 and "plan.json" in done.stderr


def test_a_plan_of_more_than_is_named_is_refused(tmp_path):
    made = ("--make-plan", "plan.json")
    both = ("--model", "tiny", "--model", "second=tiny", "--limit", "3", "--subsets", "en")
    assert encode("scenes", *both, *made, cwd=tmp_path).returncode == 0
    one = ("--model", "tiny", "--limit", "3", "--subsets", "en")
    done = encode("scenes", *one, "--plan", "plan.json", "--shard", "1/1", cwd=tmp_path)
    assert done.returncode == 2 and "was made of scenes by second, too" in done.stderr


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", " 1/2"])
def test_a_shard_is_one_of_so_many(text):
    with pytest.raises(ConfigError, match="I from 1 to N"):
        parse_part(text)


def test_the_second_of_eight_is_written_2_8():
    assert parse_part("2/8") == Part(2, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name one benchmark"),
        (("scenes",), "and a --model"),
        (("scenes", "--model", "tiny", "--plan", "p"), "--plan and --shard go together"),
        (("scenes", "--model", "tiny", "--shard", "1/2"), "--plan and --shard go together"),
        (("mteb:STSBenchmark", "--model", "tiny"), "Use evals.run"),
        (
            ("scenes", "-m", "tiny", "--make-plan", "p", "--plan", "q", "--shard", "1/1"),
            "Give one of them",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, arguments, message):
    done = encode(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr
