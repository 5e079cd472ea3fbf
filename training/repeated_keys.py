"""A key that stands twice in a YAML mapping: a mistake that YAML itself lets through."""

from collections.abc import Iterator

import yaml

from training.errors import InputError

_MOST_HOLDERS = 10_000


def refuse_repeated_keys(node: yaml.Node | None, where: str) -> None:
    """Make sure that no mapping of a document holds a key twice, of which YAML keeps the last.

    Raises:
        InputError: one does, or aliases stand for too much to be looked through.
    """
    for number, holder in enumerate(_holders(node)):
        if number > _MOST_HOLDERS:  # a few aliases of aliases can stand for billions
            raise InputError(
                f"{where}: holds more than {_MOST_HOLDERS:,} lists and mappings where each alias"
                " (*name) stands for its own; write out the few values that are meant"
            )
        seen: set[str] = set()
        for key, _ in holder.value if isinstance(holder, yaml.MappingNode) else ():
            if str(key.value) in seen:
                raise InputError(
                    f"{where}, line {key.start_mark.line + 1}: {key.value!r} stands twice, but"
                    " must stand once; keep the one that is meant"
                )
            seen.add(str(key.value))


def _holders(node: yaml.Node | None) -> Iterator[yaml.MappingNode | yaml.SequenceNode]:
    """Every mapping and sequence at and under `node`, as often as aliases repeat it."""
    if isinstance(node, yaml.MappingNode | yaml.SequenceNode):
        yield node
        for item in node.value:
            yield from _holders(item[1] if isinstance(node, yaml.MappingNode) else item)
