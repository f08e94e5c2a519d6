"""The systemd unit under a real systemd: what it says of itself, start, reload, failure, stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from .programs import needs
from .systemd import Computer, ImpossibleError, computer

pytestmark = pytest.mark.e2e

CONFIG = "/etc/swarm-sd/prometheus.yml"
DROP_INS = "/etc/systemd/system/swarm-sd.service.d"
WHERE = ("LD_LIBRARY_PATH=/opt/python/lib", "PYTHONPATH=/opt/swarm-sd/src")
MASTERS = "  swarm_sd_configs:\n  - masters: [http://127.0.0.1:1]\n"
ONE = f"scrape_configs:\n- job_name: one\n{MASTERS}"
TWO = f"{ONE}- job_name: two\n{MASTERS}"


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Computer]:
    for program in ("systemctl", "systemd-analyze", "systemd-sysusers", "unshare", "nsenter", "ip"):
        needs(program)
    try:
        with computer(tmp_path_factory.mktemp("systemd")) as made:
            # the interpreter is not where it was built for; and there is no journal
            given = [f"Environment={' '.join(WHERE)}", "StandardError=append:/run/swarm-sd.log"]
            made.write(f"{DROP_INS}/test.conf", "\n".join(["[Service]", *given, ""]))
            made.told("systemctl", "daemon-reload")
            yield made
    except ImpossibleError as err:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no systemd can run here, and CI must not skip what needs it: {err}")
        pytest.skip(f"no systemd can run here: {err}")


@pytest.fixture
def machine(booted: Computer) -> Iterator[Computer]:
    """The computer with a configuration; the service does not run yet."""
    booted.write(CONFIG, ONE)
    yield booted
    print(booted.run("cat", "/run/swarm-sd.log").stdout)
    booted.run("systemctl", "stop", "swarm-sd")
    booted.run("systemctl", "reset-failed", "swarm-sd")


def until(look: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 20
    while not look():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_the_unit_is_taken_without_a_word_and_is_well_closed(booted: Computer) -> None:
    unit = "/etc/systemd/system/swarm-sd.service"
    done = booted.run("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    booted.told("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)


def test_it_is_active_when_it_answers_until_it_is_stopped(machine: Computer) -> None:
    machine.told("systemctl", "start", "swarm-sd")
    assert ": healthy" in machine.told("env", *WHERE, "/opt/swarm-sd/bin/swarm-sd", "healthy")
    assert (machine.show("ActiveState"), machine.show("SubState")) == ("active", "running")
    assert machine.show("StatusText") == "1 jobs, http://127.0.0.1:9963"
    process = f"/proc/{machine.show('MainPID')}"
    assert machine.told("stat", "-c", "%U", process, "/var/lib/swarm-sd/state").split() == ["swarm-sd"] * 2
    assert "CapEff:\t0000000000000000" in machine.told("cat", f"{process}/status")
    machine.told("systemctl", "stop", "swarm-sd")
    assert (machine.show("ActiveState"), machine.show("Result")) == ("inactive", "success")


def test_a_reload_is_told_and_one_that_is_refused_stops_nothing(machine: Computer) -> None:
    machine.told("systemctl", "start", "swarm-sd")
    process = machine.show("MainPID")
    machine.write(CONFIG, TWO)
    machine.told("systemctl", "reload", "swarm-sd")
    until(lambda: machine.show("StatusText") == "2 jobs", "both jobs are told")
    machine.write(CONFIG, "scrape_confgs: []\n")
    machine.told("systemctl", "reload", "swarm-sd")
    until(lambda: "refused" in machine.show("StatusText"), "the refusal is told")
    assert machine.show("StatusText").startswith("2 jobs;")
    assert (machine.show("SubState"), machine.show("MainPID")) == ("running", process)


def test_a_configuration_that_is_refused_at_the_start_is_not_tried_again(machine: Computer) -> None:
    machine.write(CONFIG, "scrape_confgs: []\n")
    assert machine.run("systemctl", "start", "swarm-sd").returncode
    assert (machine.show("ActiveState"), machine.show("ExecMainStatus")) == ("failed", "2")
    assert machine.show("NRestarts") == "0"


def test_one_that_hangs_is_started_anew(machine: Computer) -> None:
    machine.write(f"{DROP_INS}/soon.conf", "[Service]\nWatchdogSec=500ms\nRestartSec=100ms\n")
    machine.told("systemctl", "daemon-reload")
    machine.told("systemctl", "start", "swarm-sd")
    process = machine.show("MainPID")
    machine.told("kill", "-STOP", process)
    until(lambda: machine.show("NRestarts") == "1", "it is started again")
    until(lambda: machine.show("ActiveState") == "active", "it answers again")
    assert machine.show("MainPID") != process
    machine.told("rm", f"{DROP_INS}/soon.conf")
    machine.told("systemctl", "daemon-reload")
