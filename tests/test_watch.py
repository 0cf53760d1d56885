"""Watching a training run: the test's two error rates by simulation, whole checkpoints only, and the command."""

import json
import math
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import binomtest

from evals.callbacks import TrainingWatch
from evals.schema import ConfigError, InvalidError
from evals.stats.sequential import alpha_of, drop_p, seen_drop
from evals.watch import watching
from evals.watch.checkpoints import Kinds, find_checkpoints, obstacle, obstacles, step_of
from evals.watch.journal import Step, read_journal, write_journal
from evals.watch.judging import Judged, Rule
from evals.watch.ownership import alone
from evals.watch.training_runs import read_training_runs
from evals.watch.watching import rounds
from jina_clip import JinaCLIP
from tests.checkpoints import sharded
from tests.commands import run
from tests.parity_models import TINY
from tests.simulation import caption_hits, margins

RUNS, CHECKPOINTS, ALPHA, FLOOR = 500, 20, 0.01, 0.003


def changes_of(rng: np.random.Generator, drop_at: int | None) -> list[np.ndarray]:
    """What each of 1,000 images with 5 captions adds to the change, checkpoint by checkpoint.

    The margins of a checkpoint are those of the baseline with noise, half of it the image's, that
    the next checkpoint has half of, too; about one hit in a hundred changes. From `drop_at` on the
    true share of hits is one point lower.
    """
    base = margins(rng, 1, 1000, 5)[0]
    before = caption_hits(base, 0.5)
    drift = np.zeros_like(base)
    changes = []
    for place in range(CHECKPOINTS):
        drift = math.sqrt(0.5) * (drift + margins(rng, 1, 1000, 5)[0])
        now = (base + 0.03 * drift) / math.sqrt(1 + 0.03**2)
        dropped = drop_at is not None and place >= drop_at
        after = caption_hits(now, 0.49 if dropped else 0.5)
        changes.append((after - before).sum(axis=1) / before.size)
    return changes


def alarms(changes: list[np.ndarray]) -> list[int]:
    """The checkpoints at which a drop is called."""
    called = []
    for place, change in enumerate(changes):
        share = alpha_of(place + 1, ALPHA, CHECKPOINTS)
        if -change.sum() > FLOOR and drop_p(change) <= share:
            called.append(place)
    return called


def test_at_most_one_run_in_a_hundred_has_a_false_alarm():
    rng = np.random.default_rng(17)
    assert sum(bool(alarms(changes_of(rng, None))) for _ in range(RUNS)) <= ALPHA * RUNS


def test_a_drop_of_one_point_is_called_within_two_evaluations():
    rng = np.random.default_rng(18)
    within = []
    for number in range(100):
        drop_at = number % (CHECKPOINTS - 1)
        called = [place for place in alarms(changes_of(rng, drop_at)) if place >= drop_at]
        within.append(bool(called) and called[0] <= drop_at + 1)
    assert np.mean(within) >= 0.95


@pytest.mark.parametrize(("wins", "losses"), [(0, 8), (5, 15), (25, 75), (40, 44), (10, 3)])
def test_the_bound_is_no_smaller_than_the_exact_sign_test(wins, losses):
    changes = np.array([1.0] * wins + [-1.0] * losses)
    exact = binomtest(losses, wins + losses, alternative="greater").pvalue
    bound = drop_p(changes)
    assert exact <= bound <= 1
    # and of large drops it gives away less than a power of 1.3
    if losses > 2 * wins:
        assert bound <= max(exact ** (1 / 1.3), 10 * exact)


def test_no_drop_and_no_change_have_nothing_to_call():
    assert drop_p(np.zeros(10)) == drop_p(np.ones(10)) == 1
    assert seen_drop(np.zeros(10), 0.01) is None and seen_drop(np.ones(10), 0.0) is None


def test_alpha_is_shared_and_never_more_is_spent():
    assert sum(alpha_of(place, 0.01, 20) for place in range(1, 30)) == pytest.approx(0.01)
    assert sum(alpha_of(place, 0.01, None) for place in range(1, 10_000)) < 0.01
    assert alpha_of(21, 0.01, 20) == 0


def model_with(noise: float, seed: int = 0) -> JinaCLIP:
    model = JinaCLIP.from_pretrained(TINY)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(noise * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Three checkpoints: nearly tiny twice, and a broken one."""
    folder = tmp_path_factory.mktemp("birds")
    for step, noise in ((100, 0.0005), (200, 0.001), (1000, 0.02)):
        model_with(noise, step).save_pretrained(folder / f"checkpoint-{step}", dtype="float32")
    return folder


def steps_of(folder, **kinds):
    return [found.step for found in find_checkpoints(folder, Kinds(**kinds), settle=0.0)]


def test_checkpoints_come_by_their_steps_and_not_by_their_names(saved):
    assert steps_of(saved) == [100, 200, 1000]


def copy_of(saved, tmp_path, step=100):
    return shutil.copytree(saved / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_half_a_file_is_no_checkpoint_yet(saved, tmp_path, file):
    folder = copy_of(saved, tmp_path)
    data = (folder / file).read_bytes()
    for length in (0, 5, len(data) // 2, len(data) - 2):
        (folder / file).write_bytes(data[:length])
        assert steps_of(tmp_path) == []
    (folder / file).write_bytes(data)
    assert steps_of(tmp_path) == [100]


def test_a_shard_that_is_not_there_yet_is_waited_for(tmp_path):
    folder = sharded(TINY, tmp_path / "step_7")
    assert steps_of(tmp_path) == [7]
    shard = folder / "model-00002-of-00002.safetensors"
    shard.rename(tmp_path / "aside")
    assert steps_of(tmp_path) == []


def test_what_was_just_written_is_left_alone_for_a_while(saved, tmp_path):
    folder = copy_of(saved, tmp_path)
    file = folder / "config.json"
    os.utime(file, (1000, 1000))
    newest = max(path.stat().st_mtime for path in folder.iterdir())
    early = obstacle(folder, Kinds(), settle=5.0, now=newest + 4.9)
    assert early == "it was written to less than 5 seconds ago"
    # By a clock that is ahead it would be waited for until that hour, without a word.
    future = obstacle(folder, Kinds(), settle=5.0, now=newest - 3600)
    assert future.startswith("it was written 3,600 seconds in the future")
    assert obstacle(folder, Kinds(), settle=5.0, now=newest + 5) is None


def test_what_is_no_checkpoint_yet_is_told_with_the_reason(saved, tmp_path):
    folder = copy_of(saved, tmp_path)
    torch.save({"a": torch.ones(2)}, folder / "optimizer.pt")  # a part of the checkpoint, and none
    (folder / "preprocessor_config.json").unlink()
    copy_of(saved, tmp_path / "two").rename(tmp_path / "best")
    found = {path.name: reason for path, reason in obstacles(tmp_path, Kinds(), settle=0.0).items()}
    assert found == {
        "checkpoint-100": "preprocessor_config.json is missing",
        "best": "its name has no number, which would be its step",
    }
    done = watch(tmp_path, cwd=tmp_path)
    assert "checkpoint-100: not measured, preprocessor_config.json is missing" in done.stderr


def test_adapters_and_files_of_open_clip_need_their_model_named(tmp_path):
    adapter = tmp_path / "checkpoint-3"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    assert steps_of(tmp_path, base="tiny") == []  # its weights are missing
    shutil.copy(TINY / "model.safetensors", adapter / "adapter_model.safetensors")
    torch.save({"a": torch.ones(2)}, tmp_path / "epoch_4.pt")
    assert steps_of(tmp_path) == []
    found = find_checkpoints(tmp_path, Kinds("tiny", "ViT-B-32"), settle=0.0)
    assert [entry.spec for entry in found] == [
        f"tiny+adapter:{adapter}",
        f"open_clip:ViT-B-32/{tmp_path / 'epoch_4.pt'}",
    ]
    data = (tmp_path / "epoch_4.pt").read_bytes()
    (tmp_path / "epoch_4.pt").write_bytes(data[:-10])
    assert steps_of(tmp_path, arch="ViT-B-32") == []


def test_a_sentence_transformers_checkpoint_is_found(text_model, tmp_path):
    shutil.copytree(text_model, tmp_path / "checkpoint-5")
    [found] = find_checkpoints(tmp_path, Kinds(), settle=0.0)
    assert found.spec == f"st:{tmp_path / 'checkpoint-5'}"


def test_hidden_parts_and_names_without_a_step_are_none(saved, tmp_path):
    copy_of(saved, tmp_path).rename(tmp_path / ".checkpoint-100.part")
    copy_of(saved, tmp_path).rename(tmp_path / "best")
    assert steps_of(tmp_path) == [] and step_of(tmp_path / "best") is None


def watch(folder, *options, cwd):
    base = (folder, "--once", "--settle", "0", "--limit", "60", "--subsets", "en")
    return run(*base, *options, module="evals.watch", cwd=cwd)


def test_a_run_is_measured_as_it_grows_and_a_fall_ends_it(saved, tmp_path):
    folder = tmp_path / "birds"
    copy_of(saved, folder)
    options = ("--baseline", TINY, "--plot", "curve.png")
    first = watch(folder, *options, cwd=tmp_path)
    assert first.returncode == 0 and "step 100: t2i/R@1" in first.stdout
    # said so that it can be understood without the docs: 1% shared by two metrics, half of it now
    assert "p 1, 0.0025 or less is a fall)" in first.stdout
    again = watch(folder, *options, cwd=tmp_path)
    assert again.returncode == 0 and "step 100" not in again.stdout  # measured once
    # the whole run in a sentence, and what was written
    for done in (first, again):
        assert "No fall seen in 1 checkpoint" in done.stdout
        assert done.stdout.splitlines()[-1] == "plot: curve.png"
    copy_of(saved, folder, 200)
    copy_of(saved, folder, 1000)
    done = watch(folder, *options, "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["verdict"] == "regressed"
    assert [step["fell"] for step in answer["steps"]] == [False, False, True]
    # each later checkpoint has less of alpha, shared by two metrics
    spent = [step["judged"][0]["alpha"] for step in answer["steps"]]
    assert spent == pytest.approx([0.01 / 4, 0.01 / 12, 0.01 / 24])
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    # a scheduler that asks again hears it again
    last = watch(folder, *options, cwd=tmp_path)
    assert last.returncode == 1 and last.stdout.startswith(answer["sentence"])
    assert answer["sentence"].startswith("Step 1,000 fell: ")


def test_the_earlier_spelling_of_limit_is_heard_with_a_hint(tmp_path):
    (tmp_path / "none").mkdir()
    base = ("none", "--once", "--settle", "0", "--probe", "60")
    done = run(*base, module="evals.watch", cwd=tmp_path)
    assert done.returncode == 0 and "hint: --probe is called --limit now" in done.stderr
    assert "no complete checkpoint yet. One is a folder with a step in its name" in done.stdout
    assert "watching" not in done.stderr
    waiting = run("none", "--idle", "0", "--poll", "0.1", module="evals.watch", cwd=tmp_path)
    assert "watching none, every 0.1 seconds; Ctrl-C leaves, and the same" in waiting.stderr


def test_checkpoints_that_are_passed_over_are_named(saved, tmp_path):
    """Steps that begin anew in each epoch: an `ok` is of what was measured, and says what was not."""
    folder = tmp_path / "birds"
    for epoch in (1, 2):
        copy_of(saved, folder / f"epoch_{epoch}")
    first = json.loads(watch(folder, "--baseline", TINY, "--json", cwd=tmp_path).stdout)
    [(path, reason)] = first["not_measured"].items()
    assert path.endswith("epoch_2/checkpoint-100") and "has step 100, too" in reason
    shutil.copytree(saved / "checkpoint-100", folder / "epoch_2" / "checkpoint-50")
    second = watch(folder, "--baseline", TINY, cwd=tmp_path)
    assert second.returncode == 0 and "its step 50 is behind 100" in second.stderr


def test_a_checkpoint_that_failed_is_not_said_to_have_come_too_late(saved, tmp_path):
    folder = tmp_path / "birds"
    copy_of(saved, folder)
    weights = folder / "checkpoint-50" / "model.safetensors"
    shutil.copytree(folder / "checkpoint-100", weights.parent)
    arrays = {name: np.full_like(rows, np.nan) for name, rows in load_file(weights).items()}
    save_file(arrays, weights)
    done = watch(folder, "--baseline", TINY, cwd=tmp_path)
    assert done.returncode == 3
    assert "birds-50: " in done.stderr and "NaN" in done.stderr
    assert "step 100: " in done.stdout and "behind 100" not in done.stderr


def test_the_first_checkpoint_may_be_the_baseline(saved, tmp_path):
    done = watch(saved, "--metric", "R@5", "--checkpoints", "2", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert [len(step["judged"]) for step in answer["steps"]] == [0, 2, 2]
    assert answer["steps"][1]["judged"][0]["metric"] == "t2i/R@5"
    assert answer["steps"][1]["judged"][0]["alpha"] == pytest.approx(0.01 / 2 / 2)
    assert done.returncode == 1


def test_a_checkpoint_that_cannot_be_read_is_told_and_does_not_stop_the_others(saved, tmp_path):
    folder = tmp_path / "birds"
    copy_of(saved, folder)
    broken = copy_of(saved, folder, 200)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "other"}))
    done = watch(folder, "--baseline", TINY, cwd=tmp_path)
    assert done.returncode == 3 and "step 100" in done.stdout
    assert f"{broken}: could not be measured" in done.stderr and "model_type" in done.stderr


def test_a_checkpoint_that_the_trainer_removes_before_its_turn_is_no_failure(
    saved, tmp_path, monkeypatch
):
    folder = tmp_path / "birds"
    for step in (100, 200, 1000):
        copy_of(saved, folder, step)
    measure = watching._measure

    def measured_late(watch, model, reporter):
        if "birds-200=" in model:
            shutil.rmtree(folder / "checkpoint-200")
        return measure(watch, model, reporter)

    monkeypatch.setattr(watching, "_measure", measured_late)
    done = watch(folder, cwd=tmp_path)
    assert done.returncode == 1 and "step 1,000" in done.stdout  # the last has fallen
    assert "checkpoint-200: was removed before it was measured" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--alpha", "1"), "--alpha 1.0: give a share"),
        (("--floor", "-1"), "--floor -1.0"),
        (("--checkpoints", "0"), "--checkpoints 0: give 1"),
        (("--baseline", "nobody"), "No model 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_refused(saved, tmp_path, options, message):
    done = watch(saved, *options, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    done = watch(tmp_path / "none", cwd=tmp_path)
    assert done.returncode == 2 and "no such folder" in done.stderr


@pytest.fixture(scope="module")
def watched(saved, tmp_path_factory):
    """A folder to work in, where the run `birds` was watched up to its first checkpoint."""
    place = tmp_path_factory.mktemp("watched")
    shutil.copytree(saved / "checkpoint-100", place / "birds" / "checkpoint-100")
    done = watch(place / "birds", cwd=place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize(
    ("folder", "options", "message"),
    [
        ("other", ("--name", "birds"), "is the journal of the run in"),
        ("birds", ("--baseline", TINY), "compared with the first checkpoint, not tiny"),
        ("birds", ("--benchmark", "pairs"), "measured on scenes, not pairs"),
    ],
)
def test_a_journal_of_another_run_is_not_continued(watched, tmp_path, folder, options, message):
    (watched / "other").mkdir(exist_ok=True)
    journal = watched / "results" / "watch" / "birds.jsonl"
    before = journal.read_bytes()
    if "pairs" in options:
        options = ("captions:pairs",)
        (watched / "pairs").mkdir(exist_ok=True)
        write_captions(watched / "pairs")
    done = watch(watched / folder, *options, cwd=watched)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert "another --name" in done.stderr
    assert journal.read_bytes() == before


def write_captions(folder):
    """Two pictures with a caption each, in the layout of `captions:`."""
    from PIL import Image

    for name in ("a", "b"):
        Image.new("RGB", (20, 20), "red").save(folder / f"{name}.png")
    (folder / "captions.csv").write_text("image,caption\na.png,one\nb.png,two\n")


def test_two_watches_do_not_write_one_journal(watched):
    with alone(watched / "results" / "watch" / "birds.jsonl"):
        done = watch(watched / "birds", cwd=watched)
    assert done.returncode == 5 and "another evals.watch writes it now" in done.stderr
    assert watch(watched / "birds", cwd=watched).returncode == 0
    assert [run.name for run in read_training_runs(watched / "results" / "runs").runs] == ["birds"]


def test_a_folder_whose_name_no_record_can_have_needs_another(saved, tmp_path):
    folder = tmp_path / "lr=0.1 bs"
    copy_of(saved, folder)
    done = watch(folder, cwd=tmp_path)
    assert done.returncode == 2 and "--name lr-0.1-bs" in done.stderr
    assert not (tmp_path / "results").exists()


JUDGED = Judged("t2i/R@1", 0.5, -0.01, None, 0.0, 0.2, 0.005, None, fell=False)


def test_a_journal_is_read_as_it_was_written_and_only_by_its_own_rule(tmp_path):
    path, rule = tmp_path / "run.jsonl", Rule(("R@1",), checkpoints=3)
    steps = [Step(1, "a", "r1", "r1", []), Step(2, "b", "r2", "r1", [JUDGED])]
    write_journal(path, steps, rule)
    assert read_journal(path, rule) == steps
    with pytest.raises(ConfigError, match="line 1: was judged by other metrics"):
        read_journal(path, rule._replace(alpha=0.05))
    path.write_text(path.read_text().replace('"step": 2', '"step": "2"'))
    with pytest.raises(InvalidError, match="line 2: step"):
        read_journal(path, rule)


def test_rounds_end_when_nothing_happens_for_long_enough():
    waited = []
    for number, busy in enumerate(rounds(10.0, 25.0, waited.append)):
        if number == 1:
            busy()
    assert waited == [
        10,
        10,
        10,
        10,
    ]  # three quiet rounds after the one in which something happened


def test_a_training_loop_watches_its_own_model(tmp_path):
    watch = TrainingWatch(
        "scenes",
        name="loop",
        baseline=str(TINY),
        results=tmp_path / "runs",
        limit=60,
        subsets="en",
        weights="those of this step",
    )
    assert not watch(model_with(0.0005), 10).fell
    fallen = watch(model_with(0.02), 20)
    assert fallen.fell and fallen.judged[0].change < -0.1
    assert watch(None, 20) == fallen  # after an interruption: from the journal
    [shown] = read_training_runs(tmp_path / "runs").runs  # as the site has it
    assert (shown.name, shown.fallen) == ("loop (in training)", [fallen])
    with pytest.raises(ConfigError, match=r"step 15: .* goes on to 20 already"):
        watch(model_with(0.0), 15)


def test_the_trainer_is_stopped_once_a_drop_is_called(tmp_path):
    from transformers import TrainerControl, TrainerState, TrainingArguments

    watch = TrainingWatch(
        "scenes", name="trainer", results=tmp_path / "runs", limit=60, subsets="en", weights="x"
    )
    callback = watch.trainer_callback(stop=True)
    arguments = TrainingArguments(output_dir=str(tmp_path / "out"))
    control = TrainerControl()
    for step, noise in ((1, 0.0), (2, 0.02)):
        state = TrainerState(global_step=step, is_world_process_zero=True)
        callback.on_save(arguments, state, control, model=model_with(noise))
        assert control.should_training_stop == (step == 2)
    other = TrainerState(global_step=3, is_world_process_zero=False)
    callback.on_save(arguments, other, control, model=None)  # another process does nothing
