"""Reading a file that a user wrote as YAML 1.2, whose core schema knows text, numbers, true, false and null.

``1e-4`` is a number, ``010`` is ten, ``1:30``, ``on`` and ``2026-01-31`` are text. What no file of ours has any use for
is a mistake, named with its line: a key given twice or that is no text, tags, numbers without an end, control
characters. A file is bounded in size, depth and values, so that none takes longer than a moment.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from flipbench.errors import UserError, shorten

MOST_BYTES = 64_000
MOST_VALUES = 10_000
"""Of a file with its aliases written out: a few lines of them would else stand for any number of values."""
MOST_LEVELS = 50
MOST_WHOLE = 10**18
"""A whole number that 64 bits hold."""
MOST_DIGITS = 100
"""Of one, zeros before it among them."""
MOST_LETTERS = 200
"""Of a key."""

_CORE = "tag:yaml.org,2002:"
_FORMS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
"""How YAML 1.2 writes what is no text (its core schema, section 10.3.2)."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufeff\ufffe\uffff]")
"""What no text of ours has: control characters but tab and line feed, other ends of lines, half a surrogate pair."""

_KINDS: dict[type[yaml.Node], tuple[str, str]] = {
    yaml.SequenceNode: ("seq", "a list"),
    yaml.MappingNode: ("map", "a mapping"),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the core schema of YAML 1.2 in place of the types of YAML 1.1, and with a bound to depth."""

    _level = _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._level += 1
        self._nodes += 1
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if self._level > MOST_LEVELS:
            raise _problem(f"nested more than {MOST_LEVELS} levels deep", event.start_mark)
        if self._nodes > MOST_VALUES:
            raise _problem(f"more than {MOST_VALUES:,} values", event.start_mark)
        if isinstance(event, yaml.NodeEvent) and not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)  # which a later one of the name replaces
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    None: [(_CORE + name, re.compile(rf"(?:{form})\Z")) for name, form in _FORMS.items()]
}


class _Values:
    """Python's values of a tree of nodes, in which an alias is the node that it stands for."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, int]] = {}
        self._open: set[int] = set()

    def of(self, node: yaml.Node) -> tuple[Any, int]:
        """The value of a node, and of how many it consists with aliases written out."""
        if id(node) in self._open:
            raise _problem("an alias stands for what it is a part of", node.start_mark)
        if id(node) not in self._known:
            self._open.add(id(node))
            value, size = self._made(node)
            if size > MOST_VALUES:
                raise _problem(f"more than {MOST_VALUES:,} values, with aliases written out", node.start_mark)
            self._open.remove(id(node))
            self._known[id(node)] = value, size
        return self._known[id(node)]

    def _made(self, node: yaml.Node) -> tuple[Any, int]:
        if isinstance(node, yaml.ScalarNode) or node.tag != _CORE + _KINDS[type(node)][0]:
            return _scalar(node), 1
        parts = []
        if isinstance(node, yaml.SequenceNode):
            parts = [self.of(item) for item in node.value]
            return [value for value, _ in parts], 1 + sum(size for _, size in parts)
        mapping = {}
        for key_node, value_node in node.value:
            key = _key(key_node)
            if key in mapping:
                raise _problem(f"key '{shorten(key)}' twice", key_node.start_mark)
            value, size = self.of(value_node)
            parts.append((key, size))
            mapping[key] = value
        return mapping, 1 + sum(1 + size for _, size in parts)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _problem(
            f"a key is {_KINDS[type(node)][1]}; put text that begins with a bracket in quotes", node.start_mark
        )
    key = _scalar(node)
    if not isinstance(key, str):
        raise _problem(f"key {shorten(node.value) or 'without a name'} is no text; put it in quotes", node.start_mark)
    if len(key) > MOST_LETTERS:
        raise _problem(f"key '{shorten(key)}' has more than {MOST_LETTERS} characters", node.start_mark)
    if "\n" in key or "\t" in key:
        raise _problem(f"key {shorten(key)!r} has a tab or the end of a line in it", node.start_mark)
    return key


def _scalar(node: yaml.Node) -> bool | int | float | str | None:
    """A single value; refuses one that a tag makes anything else than it is written as."""
    text, kind = node.value, node.tag.removeprefix(_CORE)
    if kind == "str" and isinstance(text, str):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # JSON writes halves of pairs
        if found := _CONTROL.search(text):
            raise _problem(_character(found), node.start_mark)
        return text
    if kind not in _FORMS or not isinstance(text, str) or not re.fullmatch(_FORMS[kind], text):
        raise _problem(f"'{shorten(_tag(node.tag))}' does not fit what follows it, or is unknown", node.start_mark)
    if kind == "int":
        if len(text) > MOST_DIGITS or abs(whole := int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))) > MOST_WHOLE:
            raise _problem(f"the number {shorten(text, 24)} is beyond {MOST_WHOLE:.0e}", node.start_mark)
        return whole
    if kind == "float":
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(number):
            raise _problem(f"{shorten(text)} is no finite number", node.start_mark)
        return number
    return text.lower() == "true" if kind == "bool" else None


def _character(found: re.Match[str]) -> str:
    return f"text with the character U+{ord(found[0]):04X} in it"


def _tag(tag: str) -> str:
    return f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag


def _problem(words: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=words, problem_mark=mark)


def load(path: Path) -> Any:
    """The content of a YAML file: mappings with text as keys, lists, text, finite numbers, booleans and None.

    Raises:
        UserError: the file is missing, unreadable, too large, or not such YAML; names file and line.
    """
    loader = _Loader(_text(path))
    try:
        node = loader.get_single_node()
        return _Values().of(node)[0] if node else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else loader.line
        raise UserError(f"{path}:{line + 1}: {error.problem or 'not YAML'}") from None
    except (ValueError, OverflowError):  # an escape beyond Unicode's end
        raise UserError(f"{path}:{loader.line + 1}: not YAML") from None


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe may never end
            raise UserError(f"{path}: is no file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: cannot be read (byte {content[error.start]:#04x} is no UTF-8)") from None
    except (FileNotFoundError, ValueError):  # a path with a NUL in it is nobody's
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{shorten(str(path), 1000)}: cannot be read ({error.strerror or error})") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES:,} bytes")
    if found := _CONTROL.search(text.replace("\r", "\n")):
        raise UserError(f"{path}:{text.count(chr(10), 0, found.start()) + 1}: {_character(found)}")
    return text


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; what cannot be a path at all is none."""
    try:
        return path.exists()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL
        return False
