"""Costs as people and programs read them: three tables, or one JSON object."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from evals.analysis.cost import Cost, Storage
from evals.embeddings.precision import BITS
from evals.encoders.pricing import TILE_SIDE, TILE_TOKENS
from evals.views.style import console, empty_table


def print_costs(costs: Sequence[Cost], stored: Sequence[Storage], model: str | None) -> None:
    """Images, texts and storage."""
    out = console()
    for table in (_images(costs), _texts(costs, model), _storage(stored)):
        out.print(table, "", highlight=False)


def _images(costs: Sequence[Cost]) -> Table:
    rules = "; ".join(
        f"{version}: {side} px, {TILE_TOKENS[version]:,} tokens a tile"
        for version, side in TILE_SIDE.items()
    )
    table = _table(
        "Images",
        f"Distinct images at their own size, in whole tiles ({rules}); resized: the v2 post's advice.",
    )
    for name in ("benchmark", "rule", "images", "tiles", "tokens"):
        table.add_column(
            name, justify="left" if name in ("benchmark", "rule") else "right", no_wrap=True
        )
    for cost in costs:
        for i in cost.images:
            table.add_row(_name(cost), i.rule, f"{i.images:,}", f"{i.tiles:,}", f"{i.tokens:,}")
    return table


def _texts(costs: Sequence[Cost], model: str | None) -> Table:
    counted = f"Tokens by the tokenizer of {model}" if model else "Tokens need a tokenizer: --model"
    table = _table(
        "Texts",
        "Distinct texts, uncut and without instruction; words by whitespace, which Chinese, Japanese and Thai lack. "
        f"{counted}; special: those around each text. The v1 post puts English at 1.1 tokens a word.",
    )
    for name in ("benchmark", "", "texts", "words", "tokens", "special", "tokens/word"):
        table.add_column(
            name, justify="left" if name in ("benchmark", "") else "right", no_wrap=True
        )
    for cost in costs:
        for t in cost.texts:
            ratio = "–" if t.tokens_per_word is None else f"{t.tokens_per_word:.2f}"
            table.add_row(
                _name(cost),
                t.subset,
                f"{t.texts:,}",
                f"{t.words:,}",
                _count(t.tokens),
                _count(t.special),
                ratio,
            )
    return table


def _storage(stored: Sequence[Storage]) -> Table:
    table = _table(
        "A million vectors", "Values alone, without an index; 1 GB is 1,000,000,000 bytes."
    )
    for name in ("dim", *BITS):
        table.add_column(name, justify="right", no_wrap=True)
    for dim in dict.fromkeys(s.dim for s in stored):
        table.add_row(str(dim), *(_size(s.bytes_per_million) for s in stored if s.dim == dim))
    return table


def _table(title: str, caption: str) -> Table:
    table = empty_table(title, caption)
    table.padding = (0, 2, 0, 0)
    return table


def _name(cost: Cost) -> str:
    return f"{cost.benchmark}{' (part)' if cost.partial else ''}"


def _count(n: int | None) -> str:
    return "–" if n is None else f"{n:,}"


def _size(n: int) -> str:
    return f"{n / 1e9:.2f} GB" if n >= 1e9 else f"{n / 1e6:,.0f} MB"


def as_json(costs: Sequence[Cost], stored: Sequence[Storage], model: str | None) -> dict[str, Any]:
    """The machine output of the command."""
    return {
        "schema_version": 1,
        "tokenizer": model,
        "benchmarks": [
            {
                "benchmark": cost.benchmark,
                "partial": cost.partial,
                "images": [i._asdict() for i in cost.images],
                "texts": [t._asdict() | {"tokens_per_word": t.tokens_per_word} for t in cost.texts],
            }
            for cost in costs
        ],
        "storage": [s._asdict() | {"bytes_per_million": s.bytes_per_million} for s in stored],
    }
