"""YAML without its surprises: no aliases, tags, merge keys, repeated keys, dates or octal numbers.

An alias bomb of ten lines stands for a billion values, and YAML 1.1 reads 017 as 15, 1:30 as 90 and
1_000 as 1000: nobody who writes a config means any of it.
"""

import math
import re
from typing import Any, NoReturn

import yaml

# Mappings and lists inside each other.
DEEPEST = 100
# A float64 ends at 309.
MOST_DIGITS = 300

_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MERGE = "tag:yaml.org,2002:merge"


def load_yaml(text: str) -> Any:
    """The value of a YAML text; dates stay strings.

    yaml.YAMLError, with its place, for all that is refused.
    """
    return yaml.load(text, _StrictLoader)  # noqa: S506 - a SafeLoader


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses what the docstring of this file names."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            _refuse(f"the alias *{event.anchor} is not allowed; write its value", event)
        if event.tag is not None:
            _refuse(f"the tag {event.tag!r} is not allowed; leave it out", event)
        # The composer recurses, several frames per level.
        if self.depth > DEEPEST:
            _refuse(f"nested more than {DEEPEST} deep", event)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            # `<<` merges the value into the mapping, and a list as a key cannot be hashed.
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
                _refuse("a key must be a word or a number, and not <<", key_node)
            key = self.construct_object(key_node)
            if key in keys:
                _refuse(f"the key {key!r} comes twice", key_node)
            keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        if not _DECIMAL.fullmatch(node.value) or len(node.value) > MOST_DIGITS:
            _refuse_number(node)
        return int(node.value)

    def construct_finite(self, node: yaml.ScalarNode) -> float:
        if not _FLOAT.fullmatch(node.value) or not math.isfinite(float(node.value)):
            _refuse_number(node)
        return float(node.value)


# Without dates: 2026-11-02 stays the string it is, and 2026-13-45 raises nothing.
_StrictLoader.yaml_implicit_resolvers = {
    first: [pair for pair in resolvers if not pair[0].endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_integer)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_finite)


def _refuse_number(node: yaml.ScalarNode) -> NoReturn:
    _refuse(f"{node.value[:40]!r} is no plain decimal number; write it so, or in quotes", node)


def _refuse(problem: str, at: Any) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, problem, at.start_mark)
