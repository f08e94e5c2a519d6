"""YAML nodes to typed values, strictly: every fault is told with its place, and none hides another.

The types are those that ``SDConfig`` promises; kinds of discovery from other packages need nothing here.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from swarm_sd.config.complaints import Report, closest, did_you_mean
from swarm_sd.config.document import Document
from swarm_sd.config.nodes import (
    Fields,
    Mapping,
    Node,
    Scalar,
    Sequence,
    boolean,
    fields,
    is_binary,
    is_null,
    number,
    solid,
)
from swarm_sd.scalars import FilePath


class Invalid(Enum):
    """What ``decode`` gives where there is no value, only complaints."""

    INVALID = "invalid"


INVALID: Final = Invalid.INVALID

_USER_INFO = re.compile(r"(?<=://)[^\n]*(?=@)")


class Decoder:
    """Decodes nodes of one document; what is wrong goes to ``report``."""

    def __init__(self, document: Document, report: Report) -> None:
        self.document = document
        self.report = report

    def complain(self, node: Node, path: str, what: str) -> Invalid:
        """Takes down that ``what`` is wrong at ``node``, and gives ``INVALID``."""
        self.report.add(self.document.complaint(node.start, path, what))
        return INVALID

    def decode(self, node: Node, kind: Any, path: str) -> Any:
        """The value of type ``kind`` that ``node`` writes, or ``INVALID``."""
        one = solid(node)
        origin = get_origin(kind)
        if origin is Annotated:
            return self._annotated(node, kind, path)
        if origin in (Union, types.UnionType):
            return self._optional(node, kind, path)
        if origin is Literal:
            return self._literal(one, get_args(kind), path)
        if origin in (tuple, list):
            return self._list(one, get_args(kind)[0], path, tuple if origin is tuple else list)
        if origin is dict:
            return self._dict(one, get_args(kind)[1], path)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(one, kind, path)
        if (from_yaml := getattr(kind, "from_yaml", None)) is not None:
            return self._scalar(one, from_yaml, path)
        if kind in _SIMPLE:
            return self._simple(one, kind, path)
        return self.complain(node, path, f"the kind declares this field as {kind!r}, which cannot be read")

    def mapping(self, node: Node, path: str) -> Fields | None:
        """The fields of the mapping ``node``; ``None`` where it is none."""
        one = solid(node)
        if not isinstance(one, Mapping):
            self.complain(one, path, f"expected a mapping, found {found(one)}")
            return None
        faults: list[Node] = []
        known = fields(one, faults)
        for fault in faults:
            self.complain(
                fault, path, f"'<<' takes in a mapping or a list of mappings, found {found(solid(fault))}"
            )
        return None if faults else known

    def sequence(self, node: Node, path: str) -> list[Node] | None:
        """The items of the list ``node``; ``None`` where it is none."""
        one = solid(node)
        if isinstance(one, Sequence):
            return one.items
        way_out = "; write it as a list: [...], or one '- ' line each" if isinstance(one, Scalar) else ""
        way_out = "; put '- ' before it" if isinstance(one, Mapping) else way_out
        self.complain(one, path, f"expected a list, found {found(one)}{way_out}")
        return None

    def unknown(self, given: Fields, known: Iterable[str], path: str) -> set[str]:
        """Complains of every field that is not ``known``; gives the known ones that were probably meant."""
        names = frozenset(known)
        meant = set()
        for name, (key, _) in given.items():
            if name not in names:
                self.complain(key, path, f"unknown field {name[:100]!r}{did_you_mean(name, names)}")
                meant.add(closest(name, names) or "")
        return meant

    def _annotated(self, node: Node, kind: Any, path: str) -> Any:
        inner, meta = get_args(kind)
        if (meta.extra or {}).get("one_or_more") and isinstance(solid(node), Scalar):
            one = self.decode(node, get_args(inner)[0], path)
            return INVALID if one is INVALID else (one,)
        value = self.decode(node, inner, path)
        if value is INVALID:
            return INVALID
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as err:
            return self.complain(node, path, str(err))

    def _optional(self, node: Node, kind: Any, path: str) -> Any:
        others = [one for one in get_args(kind) if one is not type(None)]
        if is_null(node) and len(others) < len(get_args(kind)):
            return None
        if len(others) != 1:
            return self.complain(
                node, path, f"the kind declares this field as {kind!r}, which cannot be read"
            )
        return self.decode(node, others[0], path)

    def _literal(self, node: Node, options: tuple[Any, ...], path: str) -> Any:
        texts = {str(option): option for option in options}
        if isinstance(node, Scalar) and node.text in texts and not is_null(node):
            return texts[node.text]
        wanted = " or ".join(repr(text) for text in texts)
        hint = did_you_mean(node.text, texts) if isinstance(node, Scalar) and node.text else ""
        return self.complain(node, path, f"expected {wanted}, found {found(node, show=True)}{hint}")

    def _list(self, node: Node, kind: Any, path: str, make: Callable[[list[Any]], Any]) -> Any:
        items = self.sequence(node, path)
        if items is None:
            return INVALID
        values = [self.decode(item, kind, f"{path}[{index}]") for index, item in enumerate(items)]
        return INVALID if INVALID in values else make(values)

    def _dict(self, node: Node, kind: Any, path: str) -> Any:
        given = self.mapping(node, path)
        if given is None:
            return INVALID
        values = {}
        for name, (_, value) in given.items():
            empty = is_null(value) and get_origin(kind) in (tuple, list, dict)
            values[name] = get_origin(kind)() if empty else self.decode(value, kind, f"{path}.{name}")
        return INVALID if INVALID in values.values() else values

    def _scalar(self, node: Node, from_yaml: Callable[[str], Any], path: str) -> Any:
        text = self._text(node, path)
        if text is None:
            return INVALID
        try:
            value = from_yaml(text)
        except ValueError as err:
            # a host may be given with its password
            return self.complain(node, path, _USER_INFO.sub("<secret>", str(err)))
        if isinstance(value, FilePath) and value:
            folder = os.path.dirname(os.path.abspath(self.document.path))  # noqa: PTH100, PTH120 - keeps symlinks
            return type(value)(os.path.join(folder, value))  # noqa: PTH118
        return value

    def _text(self, node: Node, path: str) -> str | None:
        if not isinstance(node, Scalar) or is_null(node):
            self.complain(node, path, f"expected a text, found {found(node)}")
            return None
        if is_binary(node):
            self.complain(node, path, "expected a text, found base64 (!!binary); write the text itself")
            return None
        return node.text

    def _simple(self, node: Node, kind: type, path: str) -> Any:
        if kind is str:
            text = "" if is_null(node) else self._text(node, path)
            return INVALID if text is None else text
        value: Any = None
        if isinstance(node, Scalar):
            value = boolean(node) if kind is bool else number(node)
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None or (kind is int and not isinstance(value, int)):
            quoted = isinstance(node, Scalar) and not node.plain and self._would_be(node, kind)
            way_out = "; leave out the quotes" if quoted and self._is_quoted(node) else ""
            return self.complain(
                node, path, f"expected {_SIMPLE[kind]}, found {found(node, show=True)}{way_out}"
            )
        return kind(value)

    def _is_quoted(self, node: Node) -> bool:
        return self.document.text[node.start] in "'\""

    @staticmethod
    def _would_be(node: Scalar, kind: type) -> bool:
        bare = Scalar(node.start, node.end, node.text, plain=True)
        return (boolean(bare) if kind is bool else number(bare)) is not None

    def struct(
        self,
        node: Node,
        kind: type[msgspec.Struct],
        path: str,
        *,
        null: Literal["default", "zero"] = "default",
        judge: Callable[[Any], Iterable[tuple[str, str]]] | None = None,
    ) -> Any:
        """The Struct ``kind`` that the mapping ``node`` writes, or ``INVALID``.

        A field with nothing behind its colon has its default, or (``null="zero"``) the empty value of its
        type as in Go. ``judge`` says what is wrong with the whole; else its own ``problems()`` does.
        """
        before = len(self.report)
        given = self.mapping(node, path)
        if given is None:
            return INVALID
        declared = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        meant = self.unknown(given, declared, path)
        values: dict[str, Any] = {}
        for name, field in declared.items():
            if name in given and not is_null(given[name][1]):
                values[field.name] = self.decode(given[name][1], field.type, _join(path, name))
            elif name in given and null == "zero":
                values[field.name] = self._zero(given[name][0], field.type, _join(path, name))
            elif field.required and name not in meant:
                self.complain(given[name][0] if name in given else node, path, f"{name!r} is missing")
        if len(self.report) > before or INVALID in values.values():
            return INVALID  # a judgement on half of it would blame what is not wrong
        return self._make(node, kind, values, path, judge)

    def _zero(self, key: Node, kind: Any, path: str) -> Any:
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(one for one in get_args(kind) if one is not type(None))
        if kind in _SIMPLE:
            return kind()
        if get_origin(kind) in (tuple, list, dict):
            return get_origin(kind)()
        return self.complain(key, path, "nothing is given; write a value or leave the field out")

    def _make(self, node: Node, kind: type, values: dict[str, Any], path: str, judge: Any) -> Any:
        try:
            made = kind(**values)
        except (ValueError, TypeError) as err:  # from a __post_init__
            return self.complain(node, path, str(err))
        own = getattr(made, "problems", None)
        problems = judge(made) if judge is not None else own() if own is not None else ()
        return self.tell(node, path, problems) or made

    def tell(self, node: Node, path: str, problems: Iterable[tuple[str, str]]) -> Invalid | None:
        """Complains of ``problems`` (field path, what), each at the place that its field path names."""
        told = None
        for where, what in problems:
            told = self.complain(locate(node, where), _join(path, where), _USER_INFO.sub("<secret>", what))
        return told


_SIMPLE: Final[dict[Any, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path and field and not field.startswith("[") else f"{path}{field}"


def found(node: Node, *, show: bool = False) -> str:
    """What ``node`` is, in words; its text only where it cannot be a secret (``show``)."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if is_null(node):
        return "nothing"
    text = node.text if isinstance(node, Scalar) else ""
    return f"{text[:60]!r}" if show else "a text"


_STEP: Final = re.compile(r"\[(\d+)\]")


def locate(node: Node, where: str) -> Node:
    """The node that the field path ``where`` (``masters[1]``, ``tls_config.ca``) leads to from ``node``.

    Where the path leaves the tree (a field that is not given), the last node on the way.
    """
    while where:
        one = solid(node)
        if isinstance(one, Sequence) and (step := _STEP.match(where)) and int(step[1]) < len(one.items):
            node, where = one.items[int(step[1])], where[step.end() :].removeprefix(".")
            continue
        if not isinstance(one, Mapping):
            break
        given = fields(one, [])
        # names may hold dots and brackets themselves: the longest one that fits
        fits = [name for name in given if where == name or where.startswith((f"{name}.", f"{name}["))]
        if not fits:
            break
        name = max(fits, key=len)
        key, value = given[name]
        node, where = (key if is_null(value) else value), where[len(name) :].removeprefix(".")
    return node
