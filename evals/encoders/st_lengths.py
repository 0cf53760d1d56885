"""Counts the texts that a sentence-transformers model truncates, by its tokenizer alone, without loading weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.encoders.st_folder import Module, read_config
from evals.schema import MissingError, Role

# Kinds of a first module whose folder holds the tokenizer.
TOKENIZED = (".Transformer", ".CLIPModel")
AT_ONCE = 1_000  # texts whose tokens are held, as lists of Python
# The prompts that encode_query and encode_document take, the first that a model has
# (https://sbert.net/docs/package_reference/sentence_transformer/SentenceTransformer.html).
PROMPTS: dict[Role | None, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
    None: (),
}


def count_cut(
    folder: Path, modules: Sequence[Module], texts: Sequence[str], role: Role | None, limit: int
) -> int:
    """How many texts have more tokens than `limit` or than the model reads, special ones and prompt included.

    MissingError for a model whose first module has no tokenizer of its own, such as a router, and
    for a tokenizer that cannot be loaded.
    """
    place, kind = folder / modules[0]["path"], modules[0]["type"]
    if not kind.endswith(TOKENIZED) or not any(place.glob("tokenizer*")):
        raise MissingError(
            f"its first module, {kind.rpartition('.')[2]}, has no tokenizer of its own"
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(place), local_files_only=True)
    except (OSError, ValueError) as error:
        # Loading the model says what is broken; rows that are stored need neither.
        message = " ".join(str(error).split())[:300].rstrip(".")
        raise MissingError(f"{place}: its tokenizer cannot be loaded ({message})") from error
    most = min(limit, _own_limit(place, tokenizer.model_max_length))
    prompt = _prompt(folder, role)
    count = 0
    for start in range(0, len(texts), AT_ONCE):
        prompted = [prompt + text for text in texts[start : start + AT_ONCE]]
        ids = tokenizer(prompted, verbose=False).input_ids
        count += sum(len(tokens) > most for tokens in ids)
    return count


def _own_limit(place: Path, of_tokenizer: int) -> int:
    """Where the library cuts: as its config says, else the tokenizer's limit and that of the positions."""
    config = read_config(place / "sentence_bert_config.json", dict)
    arguments = config.get("processor_kwargs", config.get("tokenizer_args")) or {}
    stated = arguments.get("model_max_length", config.get("max_seq_length"))
    if isinstance(stated, int):
        return stated
    positions: Any = read_config(place / "config.json", dict).get("max_position_embeddings")
    # XLNet writes -1 for as many as one likes.
    if isinstance(positions, int) and positions != -1:
        return min(of_tokenizer, positions)
    return of_tokenizer


def _prompt(folder: Path, role: Role | None) -> str:
    """What the library puts before a text of this role."""
    config = read_config(folder / "config_sentence_transformers.json", dict)
    prompts = config.get("prompts") or {}
    for name in (*PROMPTS[role], config.get("default_prompt_name")):
        if name in prompts:
            return str(prompts[name])
    return ""
