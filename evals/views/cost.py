"""Costs as people and programs read them: three tables, or one JSON object."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from evals.analysis.cost import Cost, Storage
from evals.embeddings.precision import BITS
from evals.encoders.pricing import TILE_SIDE, TILE_TOKENS
from evals.views.style import console, empty_table

STORAGE_NOTE = "Values alone, without an index; 1 GB is 1,000,000,000 bytes."


def notes(model: str | None) -> list[str]:
    """What the tables count: of images, of texts, of storage."""
    rules = "; ".join(
        f"{version}: {side} px, {TILE_TOKENS[version]:,} tokens a tile"
        for version, side in TILE_SIDE.items()
    )
    counted = f"Tokens by the tokenizer of {model}" if model else "Tokens need a tokenizer: --model"
    return [
        f"Distinct images at their own size, in whole tiles ({rules}); "
        "resized: the v2 post's advice.",
        "Distinct texts, uncut and without instruction; words by whitespace, which Chinese, "
        f"Japanese and Thai lack. {counted}; special: those around each text. "
        "The v1 post puts English at 1.1 tokens a word.",
        STORAGE_NOTE,
    ]


def print_costs(costs: Sequence[Cost], stored: Sequence[Storage], model: str | None) -> None:
    """Tables of images, texts and storage, in this order."""
    out = console()
    of_images, of_texts, _ = notes(model)
    tables = (
        _images(costs, of_images),
        _texts(costs, of_texts),
        _storage(stored),
    )
    for table in tables:
        out.print(table, "", highlight=False)


def _images(costs: Sequence[Cost], note: str) -> Table:
    table = _table("Images", note)
    _add_columns(table, words=("benchmark", "rule"), numbers=("images", "tiles", "tokens"))
    for cost in costs:
        for row in cost.images:
            counts = [_count(n) for n in (row.images, row.tiles, row.tokens)]
            table.add_row(_name(cost), row.rule, *counts)
    return table


def _texts(costs: Sequence[Cost], note: str) -> Table:
    table = _table("Texts", note)
    numbers = ("texts", "words", "tokens", "special", "tokens/word")
    _add_columns(table, words=("benchmark", ""), numbers=numbers)
    for cost in costs:
        for row in cost.texts:
            ratio = "–" if row.tokens_per_word is None else f"{row.tokens_per_word:.2f}"
            counts = [_count(n) for n in (row.texts, row.words, row.tokens, row.special)]
            table.add_row(_name(cost), row.subset, *counts, ratio)
    return table


def _storage(stored: Sequence[Storage]) -> Table:
    table = _table("A million vectors", STORAGE_NOTE)
    _add_columns(table, words=(), numbers=("dim", *BITS))
    for dim in dict.fromkeys(row.dim for row in stored):
        # In the order of BITS, as analysis.cost.storage gives them.
        sizes = [_size(row.bytes_per_million) for row in stored if row.dim == dim]
        table.add_row(str(dim), *sizes)
    return table


def _table(title: str, caption: str) -> Table:
    table = empty_table(title, caption)
    table.padding = (0, 2, 0, 0)
    return table


def _add_columns(table: Table, *, words: Sequence[str], numbers: Sequence[str]) -> None:
    """Columns of words, then columns of numbers."""
    for name in words:
        table.add_column(name, justify="left", no_wrap=True)
    # Ends below each other, so that sizes are compared at a glance.
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)


def _name(cost: Cost) -> str:
    return f"{cost.benchmark}{' (part)' if cost.partial else ''}"


def _count(n: int | None) -> str:
    return "–" if n is None else f"{n:,}"


def _size(n: int) -> str:
    # Powers of ten, as disks and clouds are sold, and as the caption says.
    return f"{n / 1e9:.2f} GB" if n >= 1e9 else f"{n / 1e6:,.0f} MB"


def as_json(costs: Sequence[Cost], stored: Sequence[Storage], model: str | None) -> dict[str, Any]:
    """The machine output of the command."""
    # _asdict has the fields alone: what is a property is added by name.
    return {
        "schema_version": 1,
        "tokenizer": model,
        "benchmarks": [_cost_json(cost) for cost in costs],
        "storage": [row._asdict() | {"bytes_per_million": row.bytes_per_million} for row in stored],
    }


def table_rows(costs: Sequence[Cost], stored: Sequence[Storage]) -> list[dict[str, Any]]:
    """The tables as rows: of images and texts per benchmark, then of vectors; `table` says which."""
    rows: list[dict[str, Any]] = []
    for cost in map(_cost_json, costs):
        for table in ("images", "texts"):
            head = {"table": table, "benchmark": cost["benchmark"]}
            rows += [head | entry for entry in cost[table]]
    rows += [{"table": "storage"} | entry for entry in as_json((), stored, None)["storage"]]
    return rows


def _cost_json(cost: Cost) -> dict[str, Any]:
    return {
        "benchmark": cost.benchmark,
        "partial": cost.partial,
        "images": [row._asdict() for row in cost.images],
        "texts": [row._asdict() | {"tokens_per_word": row.tokens_per_word} for row in cost.texts],
    }
