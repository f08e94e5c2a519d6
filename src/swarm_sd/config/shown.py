"""The configuration as it was loaded, as YAML to show: every secret is ``<secret>``, comments are gone.

Comments are not kept, for a password may stand in one. Aliases and merge keys are written out: an alias of a
password would name it a second time.

Source: Secret and URL of prometheus/common, which Prometheus shows so at /api/v1/status/config.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, Union, get_args, get_origin

import msgspec

from swarm_sd.config import nodes
from swarm_sd.config.document import Document
from swarm_sd.config.nodes import Node, fields, is_null, solid
from swarm_sd.job import Job
from swarm_sd.provider import SDConfig
from swarm_sd.scalars import Secret

SECRET: Final = "<secret>"  # noqa: S105 - the word itself

_SECRET = re.compile(
    r"(.*_)?(password|passphrase|secrets?|token|credentials?|(secret|private|consumer|service_account|api)_key)"
)
_ALL_BELOW = frozenset({"proxy_connect_header", "headers"})  # any header may be one that authorizes

_USER = re.compile(r"(?<=://)[^\n]*(?=@)|^[^/@\s:]*:(?!//)[^\n]*(?=@)")
_IN_QUERY = re.compile(r"(?i)([?&][^=&\s]*(?:token|passw|secret|key|signature)[^=&\s]*=)[^&\s]+")

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\t": r"\t"}


class _Text(NamedTuple):
    """A scalar. ``plain``: written without quotes, so it may mean a number, a boolean or nothing."""

    text: str
    plain: bool = True
    tag: str | None = None


_Value: TypeAlias = "_Text | list[_Value] | dict[str, _Value]"


def of_file(main: Document, included: Iterable[Document], known: Mapping[str, type[SDConfig]]) -> str:
    """A configuration file, and below it those that it includes, each as a YAML document with its name.

    ``known``: the kinds by name, whose own secrets are hidden, too.
    """
    names = {f"{kind}_sd_configs": frozenset(_secret_fields(config)) for kind, config in known.items()}
    texts = [_document(main, names)]
    texts += [f"---\n# {one.file!r}\n{_document(one, names)}" for one in included]
    return "".join(texts)


def of_jobs(jobs: Iterable[Job]) -> str:
    """Jobs that no file tells of, as a file would tell of them."""
    return _yaml({"scrape_configs": [_job(job) for job in jobs]})


def _document(document: Document, names: Mapping[str, frozenset[str]]) -> str:
    if document.root is None or is_null(document.root):
        return ""
    hidden = _Hidden(names)
    hidden.look(document.root)
    return _yaml(hidden.value(document.root))


class _Hidden:
    """Finds the scalars that are secrets; one that is a secret anywhere is one wherever it is named."""

    def __init__(self, names: Mapping[str, frozenset[str]]) -> None:
        self._names = names
        self._secrets: set[int] = set()

    def look(self, node: Node, own: frozenset[str] = frozenset(), below: str = "") -> None:
        """Looks at what is below the key ``below``; ``own`` are the names of its kind's own secrets."""
        one = solid(node)
        if isinstance(one, nodes.Sequence):
            for item in one.items:
                self.look(item, own, below)
        elif isinstance(one, nodes.Mapping):
            for name, (_, value) in fields(one, []).items():
                is_key = name == "key" and below == "tls_config"
                if is_key or name in own or name in _ALL_BELOW or _SECRET.fullmatch(name):
                    self._hide(value)
                else:
                    self.look(value, self._names.get(name, own), name)

    def _hide(self, node: Node) -> None:
        one = solid(node)
        self._secrets.add(id(one))
        for child in nodes.children(one):
            self._hide(child)

    def value(self, node: Node) -> _Value:
        """The node with its secrets hidden."""
        one = solid(node)
        if isinstance(one, nodes.Sequence):
            return [self.value(item) for item in one.items]
        if isinstance(one, nodes.Mapping):
            return {name: self.value(value) for name, (_, value) in fields(one, []).items()}
        if id(one) in self._secrets and one.text and not is_null(one):
            return _Text(SECRET)
        return _Text(_without_passwords(one.text), one.plain, one.tag)


def _without_passwords(text: str) -> str:
    """A text with what a URL in it should not tell hidden."""
    return _IN_QUERY.sub(rf"\1{SECRET}", _USER.sub(SECRET, text))


def _secret_fields(kind: Any) -> Iterator[str]:
    """The names of all fields of a kind, however deep, below which there is nothing but secrets."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            if _is_secret(field.type):
                yield field.encode_name
            else:
                yield from _secret_fields(field.type)
    else:
        for one in get_args(kind):
            yield from _secret_fields(one)


def _is_secret(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_is_secret(one) for one in get_args(kind))
    if origin is dict:
        return _is_secret(get_args(kind)[1])
    if origin in (tuple, list, Annotated):
        return _is_secret(get_args(kind)[0])
    return isinstance(kind, type) and issubclass(kind, Secret)


def _job(job: Job) -> _Value:
    made: dict[str, _Value] = {"job_name": _of(job.name)}
    for config in job.sd_configs:
        of_kind = made.setdefault(f"{config.kind}_sd_configs", [])
        assert isinstance(of_kind, list)  # noqa: S101 - for the type checker
        of_kind.append(_struct(config))
    if job.rules:
        made["relabel_configs"] = [_struct(rule.config) for rule in job.rules]
    return made


def _struct(given: msgspec.Struct) -> _Value:
    """The fields of a configuration that are not as they would be anyway."""
    return {
        field.encode_name: _of(value)
        for field in msgspec.structs.fields(given)
        if (value := getattr(given, field.name)) != field.default and value is not None and value != {}
    }


def _of(value: object) -> _Value:
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if isinstance(value, dict):
        return {name: _of(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_of(inner) for inner in value]
    if isinstance(value, bool):
        return _Text("true" if value else "false")
    text = str(value)
    return _Text(text, plain=not isinstance(value, str) or _is_plain(text))


def _yaml(value: _Value) -> str:
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: _Value) -> Iterator[str]:
    if isinstance(value, _Text):
        yield _scalar(value)
    elif not value:
        yield "[]" if isinstance(value, list) else "{}"
    elif isinstance(value, list):
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        for name, inner in value.items():
            key = name if _is_plain(name) else _quoted(name)
            if isinstance(inner, _Text) or not inner:
                yield f"{key}: {next(_lines(inner))}".rstrip(" ")
            else:
                yield f"{key}:"
                # a list stands below its key as people write it
                yield from (line if isinstance(inner, list) else f"  {line}" for line in _lines(inner))


def _is_plain(text: str) -> bool:
    """Whether ``text`` is the same without quotes, as most words are."""
    one = nodes.Scalar(0, 0, text, plain=True)
    return _WORD.fullmatch(text) is not None and nodes.boolean(one) is None and not is_null(one)


def _scalar(value: _Text) -> str:
    # what was plain is plain again: quotes would make a text of a number
    text = value.text if value.plain and "\n" not in value.text else _quoted(value.text)
    if value.tag is None:
        return text
    name = value.tag.removeprefix("tag:yaml.org,2002:")
    return f"!<{value.tag}> {text}" if name == value.tag else f"!!{name} {text}"


def _quoted(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() else f"\\U{ord(char):08x}"
