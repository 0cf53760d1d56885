"""Opt-in texts and thumbnails of the mistakes page: the query, its answer, and what was preferred.

Records hold ids; the words and the images come from the data and the stored embeddings, where they
are. Nothing is encoded. This alone of the site loads torch, and only when it is asked for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.dashboard.history import Point, points
from evals.escape import visible
from evals.os_errors import as_eval_error
from evals.records.queries import Cell
from evals.records.record import Run
from evals.schema import EvalError

if TYPE_CHECKING:
    from evals.analysis.mistakes import Mistakes
    from evals.analysis.searched import Shown

PREFERRED = 3  # of what was ranked above the answer
FOLDER = "thumbnails"


class Refusal(NamedTuple):
    """A run whose queries are shown by their ids only, and why."""

    run: Run
    subset: str
    direction: str
    message: str


@dataclass
class Words:
    """What queries say, by run, language and direction.

    `photos` are the thumbnails by their path in the site, each once however often it is shown.
    """

    thumbnails: bool = False
    photos: dict[str, bytes] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def of(self, run: Run, subset: str, direction: str, top: int) -> dict[str, dict[str, Any]]:
        """The fields `asked`, `answer` and `preferred` of the `top` worst queries, by query id.

        Empty where the data or the embeddings are not at hand; the reason is in `refused`.
        """
        from evals.analysis.mistakes import find_mistakes

        widest: Point = points(run)[0]
        cell = Cell(subset, direction, widest.dim, "float32")
        try:
            mistakes = find_mistakes(run, cell, top=top)
            rows = {}
            for mistake in mistakes.mistakes:
                rows[mistake.query.id] = {
                    "asked": self._items(mistakes, [mistake.query]),
                    "answer": self._items(mistakes, [mistake.gold]),
                    "preferred": self._items(mistakes, mistake.preferred[:PREFERRED]),
                }
        except (EvalError, OSError) as error:  # also a photo that is gone since it was encoded
            self.refused.append(Refusal(run, subset, direction, str(as_eval_error(error))))
            return {}
        return rows

    def _items(self, mistakes: "Mistakes", items: Sequence["Shown"]) -> list[Mapping[str, Any]]:
        """What the page's script shows of each item: its words, its score and its thumbnail."""
        return [
            {"text": visible(item.text), "score": item.score, "image": self._photo(mistakes, item)}
            for item in items
        ]

    def _photo(self, mistakes: "Mistakes", item: "Shown") -> str | None:
        from evals.analysis.searched import picture
        from evals.views.thumbnails import jpeg

        if not self.thumbnails or item.kind != "image":
            return None
        data = jpeg(picture(mistakes.data, item))
        # Named by its content: one photo of two languages or two models is one file.
        path = f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:32]}.jpg"
        self.photos[path] = data
        return path
