"""A watch inside real training loops: transformers' Trainer and sentence-transformers' own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from evals.callbacks import TrainingWatch
from evals.schema import ConfigError
from evals.watch.journal import read_journal
from jina_clip import JinaCLIP
from tests.parity_models import TINY

COLOURS = ("red", "blue", "green", "yellow")


class Pairs(torch.nn.Module):
    """A model as Trainer wants it: Trainer writes into `config` of what it trains, and ours is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = JinaCLIP.from_pretrained(TINY)

    def forward(self, input_ids: torch.Tensor, pixel_values: torch.Tensor) -> dict[str, Any]:
        return {"loss": self.clip(input_ids, pixel_values, return_loss=True).loss}


def pairs_of(model: JinaCLIP) -> list[dict[str, Any]]:
    """Four batches' worth of plain squares and their captions, as the model's forward takes them."""
    items = []
    for colour in COLOURS:
        pixels = model.preprocess(Image.new("RGB", (64, 64), colour))
        [ids] = model.tokenize([f"a {colour} square"])
        items.append({"ids": torch.tensor(ids), "pixels": pixels})
    return items


def collated(items: list[dict[str, Any]]) -> dict[str, Any]:
    ids = [item["ids"] for item in items]
    return {
        "input_ids": torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=1),
        "pixel_values": torch.stack([item["pixels"] for item in items]),
    }


def trained(folder: Path, watch: TrainingWatch, rate: float, steps: int = 3, **more: Any) -> Any:
    """What transformers' Trainer makes of `tiny` at a learning rate, saved at each step."""
    from transformers import Trainer, TrainingArguments

    model = Pairs()
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        save_steps=1,
        learning_rate=rate,
        lr_scheduler_type="constant",
        per_device_train_batch_size=len(COLOURS),
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=pairs_of(model.clip),
        data_collator=collated,
        callbacks=[watch.trainer_callback(stop=True)],
    )
    trainer.train(**more)
    return trainer


def watch_in(folder: Path, **more: Any) -> TrainingWatch:
    settings = {"baseline": str(TINY), "limit": 30, "subsets": "en"} | more
    return TrainingWatch("scenes", name="run", results=folder / "runs", **settings)


def of_pairs(folder: Path) -> TrainingWatch:
    return watch_in(folder, model_of=lambda trained: trained.clip)


def test_a_trainer_that_ruins_the_model_is_stopped_and_its_run_is_not_taken_for_another(
    tmp_path: Path,
) -> None:
    watch = of_pairs(tmp_path)
    trainer = trained(tmp_path / "out", watch, rate=0.05)
    assert trainer.state.global_step == 1
    [step] = read_journal(watch.journal, watch.rule)
    assert step.fell and step.step == 1
    # The same name and other settings: step 1 of the journal is not that of this run.
    with pytest.raises(
        ConfigError, match=r"has steps up to 1, and this training begins with step 0"
    ):
        trained(tmp_path / "again", of_pairs(tmp_path), rate=0.0)
    resumed = trained(tmp_path / "out", of_pairs(tmp_path), 0.0, 2, resume_from_checkpoint=True)
    assert resumed.state.global_step == 2
    assert [entry.step for entry in read_journal(watch.journal, watch.rule)] == [1, 2]


def test_a_trainer_that_changes_nothing_goes_on_to_its_end(tmp_path: Path) -> None:
    watch = of_pairs(tmp_path)
    trainer = trained(tmp_path / "out", watch, rate=0.0, steps=2)
    assert trainer.state.global_step == 2
    steps = read_journal(watch.journal, watch.rule)
    assert [step.step for step in steps] == [1, 2]
    assert all(judged.change == 0 and not judged.fell for step in steps for judged in step.judged)


def test_the_trainer_of_sentence_transformers_is_watched_too(
    text_model: Path, tmp_path: Path
) -> None:
    """Text retrieval: the model that is trained is what is measured, and stays in training mode."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    words = [f"{a} {b}" for a in ("red", "blue", "green", "yellow") for b in ("circle", "square")]
    data = own_beir(tmp_path / "mine", words)
    model = SentenceTransformer(str(text_model), device="cpu")
    watch = TrainingWatch(f"beir:{data}", name="texts", results=tmp_path / "runs")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            save_steps=1,
            learning_rate=0.0,
            per_device_train_batch_size=4,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=Dataset.from_dict({"anchor": words, "positive": words}),
        loss=MultipleNegativesRankingLoss(model),
        callbacks=[watch.trainer_callback(stop=True)],
    )
    trainer.train()
    first, second = read_journal(watch.journal, watch.rule)
    assert (first.step, first.judged) == (1, []) and second.baseline == first.record
    assert second.judged and all(judged.change == 0 for judged in second.judged)


def own_beir(folder: Path, texts: list[str]) -> Path:
    """Texts that look for themselves, in BEIR's layout."""
    (folder / "qrels").mkdir(parents=True)
    for name, letter in (("corpus", "d"), ("queries", "q")):
        lines = [json.dumps({"_id": f"{letter}{i}", "text": text}) for i, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    judged = [f"q{i}\td{i}\t1" for i in range(len(texts))]
    header = "query-id\tcorpus-id\tscore"
    (folder / "qrels" / "test.tsv").write_text("\n".join([header, *judged]) + "\n")
    return folder
