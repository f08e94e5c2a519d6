"""The daemon's own metrics, ``swarm_sd_*``, read off the manager's status whenever they are asked for."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from swarm_sd import __version__
from swarm_sd.deliver.clients import Clients
from swarm_sd.insight import JobCounts
from swarm_sd.manager import EntryStatus, Status


class Reloads:
    """How the last reading of the configuration went, and of the web configuration file."""

    def __init__(self, web_refused: Callable[[], bool] = lambda: False) -> None:
        self.web_refused = web_refused
        self.successful = True
        self.succeeded_at = time.time()
        self.failures = 0
        self.last_at = self.succeeded_at
        self.last_error = ""

    def succeeded(self) -> None:
        """The configuration was read and taken."""
        self.successful, self.last_error = True, ""
        self.succeeded_at = self.last_at = time.time()

    def failed(self, why: str = "") -> None:
        """The configuration was refused; the old one stands."""
        self.successful, self.last_error = False, why
        self.last_at = time.time()
        self.failures += 1


def registry(
    status: Callable[[], Status],
    reloads: Reloads,
    files: Callable[[], tuple[int, int]],
    counted: Callable[[], Sequence[JobCounts]],
    clients: Clients | None = None,
) -> CollectorRegistry:
    """Everything on ``/metrics``. ``files`` gives (files written, failures) of file SD, ``counted`` the jobs
    as they were counted last; ``clients`` are those of HTTP SD.
    """
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    made.register(_StatusCollector(status, reloads, files, counted, clients or Clients()))
    return made


class _StatusCollector(Collector):
    def __init__(
        self,
        status: Callable[[], Status],
        reloads: Reloads,
        files: Callable[[], tuple[int, int]],
        counted: Callable[[], Sequence[JobCounts]],
        clients: Clients,
    ) -> None:
        self._status, self._reloads, self._files, self._counted = status, reloads, files, counted
        self._clients = clients

    def describe(self) -> list[Metric]:
        return []  # told at collection: there is nothing to ask before the daemon runs

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield _info()
        yield from self._of_the_daemon(status)
        yield from _of_entries(status.entries)
        yield self._polling(status)
        yield from _of_jobs(self._counted())
        # providers that several entries share are counted once, under the first entry
        first = [entry for entry in status.entries if entry.shared_with == entry.entry]
        yield from _of_providers(first)
        yield from _of_hosts(first)
        yield from _of_events(first)
        yield from _of_kinds(first)

    def _of_the_daemon(self, status: Status) -> Iterator[Metric]:
        yield _gauge(
            "config_last_reload_successful",
            "Whether the last configuration reload succeeded.",
            self._reloads.successful,
        )
        yield _gauge(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded with success.",
            self._reloads.succeeded_at,
        )
        yield _counter(
            "config_reload_failures",
            "Reloads that were refused; the old configuration stood.",
            self._reloads.failures,
        )
        yield _gauge(
            "web_config_last_reload_successful",
            "Whether the web configuration file and the files it names are in use as they are.",
            not self._reloads.web_refused(),
        )
        yield _gauge("ready", "Whether every job is known or restored.", status.ready)
        yield _counter("deliveries", "Changes delivered to HTTP SD and file SD.", status.deliveries)
        yield _counter("delivery_failures", "Deliveries that failed.", status.delivery_failures)
        yield _counter("store_failures", "Times the targets could not be saved.", status.store_failures)
        written, failed = self._files()
        yield _counter("file_writes", "file_sd files written.", written)
        yield _counter("file_write_failures", "file_sd files that could not be written.", failed)

    def _polling(self, status: Status) -> Metric:
        family = GaugeMetricFamily("swarm_sd_clients", "Clients that poll a list of the job.", labels=["job"])
        for job, count in self._clients.polling({entry.entry.job for entry in status.entries}).items():
            family.add_metric([job], count)
        return family


def _info() -> Metric:
    family = GaugeMetricFamily(
        "swarm_sd_build_info", "The version that runs.", labels=["version", "pythonversion"]
    )
    family.add_metric([__version__, platform.python_version()], 1)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"swarm_sd_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"swarm_sd_{name}", text, value=float(value))


_ENTRY = ["job", "entry"]


def _labels(status: EntryStatus) -> list[str]:
    return [status.entry.job, str(status.entry.index)]


def _of_entries(entries: tuple[EntryStatus, ...]) -> Iterator[Metric]:
    targets = GaugeMetricFamily(
        "swarm_sd_discovered_targets", "Targets in the list that stands.", labels=["job"]
    )
    per_job: Counter[str] = Counter()
    for status in entries:
        per_job[status.entry.job] += status.targets
    for job, count in per_job.items():
        targets.add_metric([job], count)
    yield targets

    known = GaugeMetricFamily(
        "swarm_sd_known",
        "Whether the list was heard from its source (0: restored or unknown).",
        labels=_ENTRY,
    )
    stale = GaugeMetricFamily(
        "swarm_sd_stale", "Whether the targets served are not confirmed now.", labels=_ENTRY
    )
    held = GaugeMetricFamily(
        "swarm_sd_mass_loss_held", "Whether a mass loss of targets is held back now.", labels=_ENTRY
    )
    holds = CounterMetricFamily(
        "swarm_sd_mass_loss_holds", "Mass losses of targets that were held back.", labels=_ENTRY
    )
    for status in entries:
        known.add_metric(_labels(status), status.state == "known")
        stale.add_metric(_labels(status), status.stale_since is not None)
        held.add_metric(_labels(status), status.held)
        holds.add_metric(_labels(status), status.holds)
    yield from (known, stale, held, holds)


def _of_jobs(counted: Sequence[JobCounts]) -> Iterator[Metric]:
    scraped = GaugeMetricFamily(
        "swarm_sd_scraped_targets", "Targets that are left after relabelling.", labels=["job"]
    )
    dropped = GaugeMetricFamily(
        "swarm_sd_dropped_targets",
        "What was found and is not scraped: dropped by a rule, refused, or an object without a target.",
        labels=["job", "reason"],
    )
    for one in counted:
        if one.known:
            scraped.add_metric([one.job], one.states["scraped"])
            for reason, number in sorted((Counter(one.reasons) + Counter(one.passed_over)).items()):
                dropped.add_metric([one.job, reason], number)
    yield from (scraped, dropped)


def _of_providers(entries: list[EntryStatus]) -> Iterator[Metric]:
    refreshes = CounterMetricFamily("swarm_sd_refreshes", "Refreshes begun.", labels=_ENTRY)
    failures = CounterMetricFamily(
        "swarm_sd_refresh_failures", "Refreshes that failed.", labels=[*_ENTRY, "reason"]
    )
    duration = GaugeMetricFamily(
        "swarm_sd_refresh_duration_seconds", "How long the last good refresh took.", labels=_ENTRY
    )
    success = GaugeMetricFamily(
        "swarm_sd_last_success_timestamp_seconds", "When the last good answer came.", labels=_ENTRY
    )
    age = GaugeMetricFamily(
        "swarm_sd_last_success_age_seconds", "Age of the last good answer.", labels=_ENTRY
    )
    skipped = GaugeMetricFamily(
        "swarm_sd_skipped_objects",
        "Parts of the last answer that could not be used.",
        labels=[*_ENTRY, "reason"],
    )
    crashes = CounterMetricFamily(
        "swarm_sd_provider_crashes", "Times a provider crashed and was started again.", labels=_ENTRY
    )
    for status in entries:
        labels, provider = _labels(status), status.provider
        refreshes.add_metric(labels, provider.refreshes)
        crashes.add_metric(labels, status.crashes)
        for reason, count in provider.failures.items():
            failures.add_metric([*labels, reason], count)
        for reason, count in provider.skipped.items():
            skipped.add_metric([*labels, reason], count)
        if provider.last_duration is not None:
            duration.add_metric(labels, provider.last_duration)
        if provider.last_success is not None:
            success.add_metric(labels, provider.last_success)
            age.add_metric(labels, max(0.0, time.time() - provider.last_success))
    yield from (refreshes, failures, duration, success, age, skipped, crashes)


def _of_hosts(entries: list[EntryStatus]) -> Iterator[Metric]:
    labels = [*_ENTRY, "manager"]
    up = GaugeMetricFamily(
        "swarm_sd_manager_up", "Whether the manager answered when it was last asked.", labels=labels
    )
    active = GaugeMetricFamily(
        "swarm_sd_manager_active", "Whether the manager is the one that answers now.", labels=labels
    )
    failures = CounterMetricFamily(
        "swarm_sd_manager_failures", "Requests that a manager failed.", labels=[*labels, "reason"]
    )
    for status in entries:
        for host in status.provider.hosts:
            here = [*_labels(status), host.name]
            if host.state != "unknown":
                up.add_metric(here, host.state == "up")
            active.add_metric(here, host.active)
            for reason, count in host.failures.items():
                failures.add_metric([*here, reason], count)
    yield from (up, active, failures)


def _of_events(entries: list[EntryStatus]) -> Iterator[Metric]:
    connected = GaugeMetricFamily(
        "swarm_sd_event_stream_up", "Whether the event stream is open (of several: how many).", labels=_ENTRY
    )
    connections = CounterMetricFamily(
        "swarm_sd_event_stream_connections", "Event streams that began.", labels=_ENTRY
    )
    received = CounterMetricFamily("swarm_sd_events_received", "Events that came.", labels=_ENTRY)
    broken = CounterMetricFamily("swarm_sd_events_broken", "Events that were no JSON.", labels=_ENTRY)
    missed = CounterMetricFamily(
        "swarm_sd_events_missed", "Changes that asking found and no event told of.", labels=_ENTRY
    )
    for status in entries:
        if streams := status.provider.events:
            connected.add_metric(_labels(status), sum(stream.connected for stream in streams))
            connections.add_metric(_labels(status), sum(stream.connections for stream in streams))
            received.add_metric(_labels(status), sum(stream.received for stream in streams))
            broken.add_metric(_labels(status), sum(stream.broken for stream in streams))
            missed.add_metric(_labels(status), sum(stream.missed for stream in streams))
    yield from (connected, connections, received, broken, missed)


def _of_kinds(entries: list[EntryStatus]) -> Iterator[Metric]:
    """What only some kinds have to tell."""
    families: dict[str, GaugeMetricFamily] = {}
    for status in entries:
        for gauge in status.provider.gauges:
            family = families.get(gauge.name)
            if family is None:
                name = f"swarm_sd_{gauge.name}"
                family = GaugeMetricFamily(name, gauge.text, labels=[*_ENTRY, *gauge.labels])
                families[gauge.name] = family
            family.add_metric([*_labels(status), *gauge.labels.values()], gauge.value)
    yield from families.values()
