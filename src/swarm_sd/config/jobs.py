"""A prometheus.yml (and the files it includes) to the jobs that are ours.

What belongs to Prometheus alone is carried: its keys must be known ones, its values are not judged.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from swarm_sd.config import prometheus, shown
from swarm_sd.config.complaints import Complaint, ConfigError, Report
from swarm_sd.config.decode import INVALID, Decoder
from swarm_sd.config.document import Document, read
from swarm_sd.config.nodes import Fields, Node, is_null, solid
from swarm_sd.discovery import ENTRY_POINT_GROUP, kinds
from swarm_sd.job import Job
from swarm_sd.provider import SDConfig
from swarm_sd.relabel import RelabelConfig, Rule, compile_rule
from swarm_sd.scalars import Duration

Validation = Literal["utf8", "legacy"]
T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """A configuration as loaded. ``jobs`` are those with entries of ours, in the order they are written.

    ``shown`` gives it as YAML with every secret hidden; that may take a while.
    """

    path: Path
    jobs: tuple[Job, ...]
    files: tuple[Path, ...]  # all that were read, the main one first: to be watched
    shown: Callable[[], str] = field(default=lambda: "", repr=False, compare=False)


@dataclass(frozen=True)
class OurList:
    """One ``<kind>_sd_configs`` of ours in a scrape config, as written and as read."""

    key: Node
    value: Node
    entries: tuple[SDConfig, ...]


@dataclass(frozen=True)
class ScrapeConfig:
    """One scrape config with entries (or at least keys) of ours, and where it is written."""

    document: Document
    index: int  # in the document's scrape_configs
    node: Node
    fields: Fields
    lists: tuple[OurList, ...]
    job: Job


@dataclass(frozen=True)
class Included:
    """A file that ``scrape_config_files`` names; ``pattern`` as written there."""

    document: Document
    pattern: str
    pattern_node: Node


@dataclass(frozen=True)
class Loaded:
    """A configuration with its nodes, for those who work on the text."""

    config: Config
    main: Document
    included: tuple[Included, ...]
    ours: tuple[ScrapeConfig, ...]


def load(path: str | os.PathLike[str]) -> Config:
    """The configuration at ``path``. ``ConfigError`` with everything that is wrong in it and its includes.

    A file without any entry of ours is fine and has no jobs.
    """
    return load_nodes(path).config


def load_nodes(path: str | os.PathLike[str]) -> Loaded:
    """As ``load``, with the documents and nodes that the jobs were read from."""
    file = os.fspath(path)
    report = Report()
    known = _kinds(file)
    main = read(Path(file), file, report)
    if main is not None and (main.root is None or is_null(main.root)):
        report.add(Complaint(file, 1, 1, "", "the file is empty; it needs at least scrape_configs"))
    if main is None or main.root is None or len(report):
        report.raise_if_any()
        raise ConfigError([Complaint(file, 1, 1, "", "the file is empty; it needs at least scrape_configs")])
    reader = _Reader(report, known)
    reader.main(main)
    report.raise_if_any()
    jobs = tuple(one.job for one in reader.ours if one.job.sd_configs)
    files = (Path(file), *(Path(one.document.path) for one in reader.included))
    included = [one.document for one in reader.included]
    config = Config(Path(file), jobs, files, cache(lambda: shown.of_file(main, included, known)))
    return Loaded(config, main, tuple(reader.included), tuple(reader.ours))


def _kinds(file: str) -> MappingType[str, type[SDConfig]]:
    try:
        return kinds()
    except Exception as err:
        cause = f"{type(err).__name__}: {err}"
        culprit = _broken_entry_point()
        what = (
            f"a kind of discovery from another package cannot be loaded{culprit}: {cause}; mend or remove it"
        )
        raise ConfigError([Complaint(file, 1, 1, "", what)]) from err


def _broken_entry_point() -> str:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except Exception:  # noqa: BLE001 - only looking for the one that raises
            package = f" of {point.dist.name}" if point.dist is not None else ""
            return f" ({point.name} = {point.value}{package})"
    return ""


@dataclass(frozen=True)
class _Global:
    """What ``global`` says for all scrape configs. Source: DefaultGlobalConfig of Prometheus."""

    interval: Duration = Duration(60)  # noqa: RUF009 - immutable
    timeout: Duration = Duration(10)  # noqa: RUF009
    validation: Validation = "utf8"


@dataclass
class _Reader:
    report: Report
    kinds: MappingType[str, type[SDConfig]]
    ours: list[ScrapeConfig] = field(default_factory=list)
    included: list[Included] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)  # every job's name and where it is given
    defaults: _Global = field(default_factory=_Global)

    def main(self, document: Document) -> None:
        decoder = Decoder(document, self.report)
        assert document.root is not None  # noqa: S101 - for the type checker; load_nodes has seen to it
        top = decoder.mapping(document.root, "")
        if top is None:
            return
        decoder.unknown(top, prometheus.TOP_LEVEL, "")
        if (node := _given(top, "global")) is not None:
            self._global(decoder, node)
        self._scrape_configs(decoder, top)
        if (node := _given(top, "scrape_config_files")) is not None:
            self._includes(decoder, node)

    def _global(self, decoder: Decoder, node: Node) -> None:
        given = decoder.mapping(node, "global")
        if given is None:
            return
        decoder.unknown(given, prometheus.GLOBAL, "global")
        one = _Fields(decoder, given, "global")
        interval = one.get("scrape_interval", Duration, Duration(0)) or _Global.interval
        timeout = one.get("scrape_timeout", Duration, Duration(0))
        one.check_timeout(timeout, interval)
        validation = one.get("metric_name_validation_scheme", Literal["utf8", "legacy"], _Global.validation)
        self.defaults = _Global(interval, timeout or min(_Global.timeout, interval), validation)

    def _includes(self, decoder: Decoder, node: Node) -> None:
        for index, item in enumerate(decoder.sequence(node, "scrape_config_files") or []):
            path = f"scrape_config_files[{index}]"
            pattern = decoder.decode(item, str, path)
            if pattern is INVALID:
                continue
            folder, _, last = pattern.rpartition("/")
            if not last or "*" in folder or last.count("*") > 1 or "\0" in pattern:
                way_out = "one '*' may stand in the last part of the path"
                decoder.complain(item, path, f"invalid scrape config file path {pattern!r}; {way_out}")
                continue
            for file in _matches(decoder.document.file, pattern):
                self._include(decoder.document, file, pattern, item)

    def _include(self, main: Document, file: str, pattern: str, item: Node) -> None:
        document = read(
            Path(file), file, self.report, f"; scrape_config_files names it at {main.where(item.start)}"
        )
        if document is None:
            return
        self.included.append(Included(document, pattern, item))
        if document.root is None or is_null(document.root):
            return
        decoder = Decoder(document, self.report)
        top = decoder.mapping(document.root, "")
        if top is not None:
            decoder.unknown(top, {"scrape_configs"}, "")
            self._scrape_configs(decoder, top)

    def _scrape_configs(self, decoder: Decoder, top: Fields) -> None:
        node = _given(top, "scrape_configs")
        if node is None:
            return
        for index, item in enumerate(decoder.sequence(node, "scrape_configs") or []):
            self._scrape_config(decoder, item, index)

    def _scrape_config(self, decoder: Decoder, node: Node, index: int) -> None:
        path = f"scrape_configs[{index}]"
        given = decoder.mapping(node, path)
        if given is None:
            return
        keys = {f"{kind}_sd_configs": config for kind, config in self.kinds.items()}
        decoder.unknown(given, prometheus.SCRAPE_CONFIG | keys.keys(), path)
        one = _Fields(decoder, given, path)
        name = self._name(one, node)
        timing = self._timing(one)
        lists = [self._list(one, key, keys[key]) for key in given if key in keys]
        if not lists:
            return
        rules = self._rules(one, self._validation(one))
        defaults = self._default_labels(one, name, *timing)
        configs = tuple(entry for ours in lists for entry in ours.entries)
        job = Job(name, configs, rules, defaults)
        self.ours.append(ScrapeConfig(decoder.document, index, node, given, tuple(lists), job))

    def _name(self, one: _Fields, node: Node) -> str:
        way_out = "give each scrape config a name"
        if "job_name" not in one.given:
            one.decoder.complain(node, one.path, f"'job_name' is missing; {way_out}")
            return ""
        wrong = not is_null(one.given["job_name"][1])
        name = one.get("job_name", str, None if wrong else "")
        if name == "":
            one.complain("job_name", f"job_name is empty; {way_out}")
        if not name:
            return ""
        place = one.decoder.document.where(one.place("job_name").start)
        if (first := self.jobs.setdefault(name, place)) is not place:
            what = f"found multiple scrape configs with job name {name!r}, the first at {first}; rename one"
            one.complain("job_name", what)
        return str(name)

    def _timing(self, one: _Fields) -> tuple[Duration, Duration]:
        interval = one.get("scrape_interval", Duration, Duration(0)) or self.defaults.interval
        timeout = one.get("scrape_timeout", Duration, Duration(0))
        one.check_timeout(timeout, interval)
        return interval, timeout or min(self.defaults.timeout, interval)

    def _list(self, one: _Fields, key: str, config: type[SDConfig]) -> OurList:
        path = f"{one.path}.{key}"
        key_node, value = one.given[key]
        items = [] if is_null(value) else one.decoder.sequence(value, path) or []
        entries = [one.decoder.decode(item, config, f"{path}[{index}]") for index, item in enumerate(items)]
        return OurList(key_node, value, tuple(entry for entry in entries if entry is not INVALID))

    def _validation(self, one: _Fields) -> Validation:
        found: Validation = one.get(
            "metric_name_validation_scheme", Literal["utf8", "legacy"], self.defaults.validation
        )
        return found

    def _rules(self, one: _Fields, validation: Validation) -> tuple[Rule, ...]:
        node = _given(one.given, "relabel_configs")
        items = [] if node is None else one.decoder.sequence(node, f"{one.path}.relabel_configs") or []
        rules = []
        for index, item in enumerate(items):
            path = f"{one.path}.relabel_configs[{index}]"
            # an empty field means its type's empty value to Prometheus here: "regex:" matches only ""
            config = one.decoder.struct(
                solid(item), RelabelConfig, path, null="zero", judge=lambda made: made.problems(validation)
            )
            if config is not INVALID:
                where = one.decoder.document.where(item.start)
                rules.append(compile_rule(config, validation=validation, where=where))
        return tuple(rules)

    def _default_labels(
        self, one: _Fields, name: str, interval: Duration, timeout: Duration
    ) -> dict[str, str]:
        """Source: scrape.PopulateDiscoveredLabels of Prometheus."""
        params = one.get("params", dict[str, tuple[str, ...]], {})
        return {
            "job": name,
            "__scheme__": one.get("scheme", Literal["http", "https"], "http"),
            "__metrics_path__": one.get("metrics_path", str, "/metrics"),
            "__scrape_interval__": str(interval),
            "__scrape_timeout__": str(timeout),
            **{f"__param_{key}": values[0] for key, values in params.items() if values},
        }


@dataclass(frozen=True)
class _Fields:
    """The given fields of one mapping, decoded one by one."""

    decoder: Decoder
    given: Fields
    path: str

    def get(self, name: str, kind: Any, default: Any) -> Any:
        """The field's value; ``default`` where it is not given, empty, or wrong (which is told)."""
        node = _given(self.given, name)
        value = INVALID if node is None else self.decoder.decode(node, kind, f"{self.path}.{name}")
        return default if value is INVALID else value

    def place(self, name: str) -> Node:
        key, value = self.given[name]
        return key if is_null(value) else value

    def complain(self, name: str, what: str) -> None:
        self.decoder.complain(self.place(name), f"{self.path}.{name}", what)

    def check_timeout(self, timeout: Duration, interval: Duration) -> None:
        if timeout > interval:
            what = f"{timeout} is greater than the scrape interval of {interval}; make it {interval} or less"
            self.complain("scrape_timeout", what)


def _given(fields: Fields, name: str) -> Node | None:
    if name not in fields or is_null(fields[name][1]):
        return None
    return fields[name][1]


def _matches(main: str, pattern: str) -> list[str]:
    """The files that ``pattern`` names from the folder of ``main``, sorted; shown as Prometheus does."""
    folder = glob.escape(os.path.dirname(main))  # noqa: PTH120 - pathlib would drop a "./"
    whole = pattern if os.path.isabs(pattern) else os.path.join(folder, pattern)  # noqa: PTH117, PTH118
    # Go's Glob sees hidden files and negates with ^
    return sorted(glob.glob(whole.replace("[^", "[!"), include_hidden=True))  # noqa: PTH207
