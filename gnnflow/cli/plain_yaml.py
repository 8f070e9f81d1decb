"""YAML of options: plain values, so small that none can grow while it is read."""

from typing import Any

import yaml

MAX_BYTES = 1 << 18
"""Size of a file of options beyond which it is not read."""
_MAX_VALUE = 4096


def read_yaml(text: str) -> Any:
    """Reads a YAML document of plain values.

    Raises:
        ValueError: It is no YAML, is nested too deeply, or has aliases (a few lines of which stand
            for more values than there is memory for) or a value longer than any path.
    """
    try:
        return _PlainLoader(text).get_single_data()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Composes a value; refuses one that only points at another."""
        if self.check_event(yaml.AliasEvent):
            line = self.get_mark().line + 1
            raise ValueError(f"line {line} has an alias (*); write the value out")
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and len(node.value) > _MAX_VALUE:
            line = node.start_mark.line + 1
            raise ValueError(f"line {line} has a value of more than {_MAX_VALUE} characters")
        return node
