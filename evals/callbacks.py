"""Watches a training run from inside: as a function of the model and the step, or as a Trainer callback.

from evals.callbacks import TrainingWatch
watch = TrainingWatch("scenes", name="birds", baseline="tiny", limit=200)
watch(model, step).fell
trainer.add_callback(watch.trainer_callback(stop=True))
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evals.bucket import folder_of, location
from evals.library.evaluating import evaluate
from evals.library.runs import RESULTS
from evals.progress import SILENT, Reporter
from evals.records.places import read_placed
from evals.schema import ConfigError, MissingError
from evals.watch.journal import (
    IN_TRAINING,
    Step,
    journal_folder,
    read_journal,
    write_journal,
)
from evals.watch.judging import Rule, check_rule, judge


class TrainingWatch:
    """Measures a model whenever it is called, against the baseline, on the same items every time.

    `benchmark`, and `settings` such as `limit` and `subsets`, are those of `evals.evaluate`; `name`
    is what records call the model, with the step behind it. `baseline` is a model as `--model` names
    it, an object, or None for the first call. `rule` says what is tested, and the chance of a false
    alarm in the whole run. `model_of` gives of what is trained the object with `encode_text` and
    `encode_image` (or `encode`). ConfigError for a rule that cannot be meant.
    """

    def __init__(
        self,
        benchmark: str,
        *,
        name: str,
        baseline: Any = None,
        rule: Rule | None = None,
        model_of: Callable[[Any], Any] = lambda model: model,
        results: str | Path = RESULTS,
        reporter: Reporter = SILENT,
        **settings: Any,
    ) -> None:
        self.benchmark, self.name, self.baseline = benchmark, name, baseline
        self.rule = rule or Rule()
        check_rule(self.rule)
        self.model_of, self.results, self.reporter = model_of, location(results), reporter
        self.settings = settings
        # Beside that of `evals.watch`, whose steps are files and not objects.
        folder = journal_folder(folder_of(self.results))
        self.journal = folder / f"{name}{IN_TRAINING}.jsonl"

    def __call__(self, model: Any, step: int) -> Step:
        """Measure the model as it is now; `fell` of what comes back says whether it dropped.

        A step that was measured before, by a run that was interrupted, comes from the journal.
        Raises what `evals.evaluate` raises, and ConfigError for a step that is not after the last.
        """
        steps = read_journal(self.journal, self.rule)
        for earlier in steps:
            if earlier.step == step:
                return earlier
        if steps and step < steps[-1].step:
            raise ConfigError(
                f"step {step}: {self.journal} goes on to {steps[-1].step} already. "
                "Choose another name for another run."
            )
        record = self._record(self.model_of(model), f"{self.name}-{step}")
        baseline = steps[0].baseline if steps else self._baseline(record)
        place = 1 + sum(bool(earlier.judged) for earlier in steps)
        judged = []
        if baseline != record:
            judged = judge(read_placed(Path(baseline)), read_placed(Path(record)), self.rule, place)
        result = Step(step, self.name, record, baseline, judged)
        write_journal(self.journal, [*steps, result], self.rule)
        return result

    def trainer_callback(self, *, stop: bool = False) -> Any:
        """A `transformers.TrainerCallback` that measures the model whenever the Trainer saves it.

        With `stop` training ends once a drop is called. MissingError without transformers.
        """
        try:
            from transformers import TrainerCallback
        except ModuleNotFoundError:
            raise MissingError(
                "transformers is not installed; a callback of its Trainer needs it. "
                "Run: pip install 'jina-clip-evals[rivals]'."
            ) from None

        watch = self

        class Callback(TrainerCallback):
            """Calls the watch when a checkpoint is saved."""

            def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                # Steps of the run before would be given out as those of this one.
                if state.global_step == 0 and state.is_world_process_zero:
                    watch.check_new()

            def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
                # One of several processes measures: the others would write the same record.
                if not state.is_world_process_zero:
                    return control
                step = watch(kwargs["model"], state.global_step)
                if stop and step.fell:
                    control.should_training_stop = True
                return control

        return Callback()

    def check_new(self) -> None:
        """ConfigError where the journal has steps already, for training that begins with step 0."""
        steps = read_journal(self.journal, self.rule)
        if steps:
            raise ConfigError(
                f"{self.journal} has steps up to {steps[-1].step}, and this training begins with "
                "step 0. Go on where it stopped (resume_from_checkpoint of Trainer), or choose "
                "another name for another run."
            )

    def _record(self, model: Any, name: str) -> str:
        """The record of a model, its rows not kept: the next step has other weights."""
        run = evaluate(
            self.benchmark,
            model,
            name=name,
            store=None,
            results=self.results,
            reporter=self.reporter,
            **self.settings,
        )
        return str(run.path)

    def _baseline(self, first: str) -> str:
        if self.baseline is None:
            return first
        # A model that is named has a name already; an object gets one.
        name = None if isinstance(self.baseline, str) else f"{self.name}-baseline"
        run = evaluate(
            self.benchmark,
            self.baseline,
            name=name,
            store=None,
            results=self.results,
            reporter=self.reporter,
            **self.settings,
        )
        return str(run.path)
