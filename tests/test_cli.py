"""The command line: exit codes, and messages that say what to do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

import swarm_sd
from swarm_sd import table
from swarm_sd.cli import cli
from swarm_sd.sim.clusters import example
from swarm_sd.sim.info import Teller, info
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.sim.tags import Tag

SWARM_SD = Path(sys.executable).with_name("swarm-sd")
INFO = info(example(), Teller(tag=Tag("v1.2.9")))
NOBODY = "http://127.0.0.1:1"

BAD = """\
scrape_configs:
- job_name: a
  swarn_sd_configs:
  - masters: [http://127.0.0.1:1]
- job_name: b
  swarm_sd_configs:
  - masters: [http://127.0.0.1:1]
    refresh_interval: 1x
"""
COMPLAINTS = [
    "bad.yml:3:3: scrape_configs[0]: unknown field 'swarn_sd_configs', did you mean 'swarm_sd_configs'?",
    "bad.yml:8:23: scrape_configs[1].swarm_sd_configs[0].refresh_interval: "
    "not a valid duration string: '1x'; write it like 30s, 1m30s or 500ms",
]


class Master(BaseHTTPRequestHandler):
    """A manager that knows three nodes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(INFO)))
        self.end_headers()
        self.wfile.write(INFO)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def master() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Master) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command sets up logging for its process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def write(master: str, name: str = "good.yml") -> str:
    """A configuration with a job that can be discovered and one that cannot."""
    Path(name).write_text(
        f"""\
scrape_configs:
- job_name: well
  swarm_sd_configs:
  - masters: ['{master}']
  relabel_configs:
  - source_labels: [__meta_swarm_node_name]
    regex: node-b
    action: drop
- job_name: ill
  swarm_sd_configs:
  - masters: ['{NOBODY}']
- job_name: theirs
  static_configs: []
"""
    )
    return name


def run(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli, arguments, prog_name="swarm-sd")


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a process, for what ends otherwise in another way."""
    return subprocess.run([str(SWARM_SD), *arguments], capture_output=True, text=True, timeout=30)


# -- check config ---------------------------------------------------------------------------------------


def test_a_good_configuration_is_counted() -> None:
    result = run("check", "config", write(NOBODY))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Checking good.yml\n  SUCCESS: 2 jobs with 2 entries of ours\n"


@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "bad.yml"],
        ["check", "service-discovery", "bad.yml"],
        ["targets", "bad.yml"],
        ["convert", "bad.yml", "--sd.url=http://swarm-sd:9963"],
        ["serve", "--config.file=bad.yml"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_bad_configuration_is_exit_code_2_and_every_complaint(command: list[str]) -> None:
    Path("bad.yml").write_text(BAD)
    result = run(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == COMPLAINTS


def test_a_configuration_that_is_not_there_is_exit_code_2() -> None:
    result = run("check", "config", "none.yml")
    assert result.exit_code == 2
    assert result.stderr == "none.yml:1:1: cannot read the file: No such file or directory\n"


def test_a_folder_is_no_configuration() -> None:
    result = run("check", "config", ".")
    assert result.exit_code == 2
    assert "is a directory" in result.stderr


# -- check service-discovery ------------------------------------------------------------------------------


def test_one_jobs_targets_are_a_list_with_the_dropped_ones_in_it(master: str) -> None:
    result = run("check", "service-discovery", write(master), "well")
    assert (result.exit_code, result.stderr) == (0, "")
    targets = json.loads(result.stdout)
    assert len(targets) == 4
    assert all(set(target) == {"discoveredLabels", "labels"} for target in targets)
    dropped = [target["discoveredLabels"] for target in targets if not target["labels"]]
    assert [labels["__meta_swarm_node_name"] for labels in dropped] == ["node-b"]


def test_without_a_job_every_jobs_targets_and_what_could_not_be_asked(master: str) -> None:
    result = run("check", "service-discovery", write(master))
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert {name: len(targets) for name, targets in found.items()} == {"well": 4, "ill": 1}
    assert result.stderr == f"ill/0: could not be discovered: {NOBODY}/info: connection refused\n"


def test_a_job_that_cannot_be_discovered_is_exit_code_1_and_still_json() -> None:
    result = run("check", "service-discovery", write(NOBODY), "ill")
    assert result.exit_code == 1
    assert isinstance(json.loads(result.stdout), list)
    assert result.stderr == f"ill/0: could not be discovered: {NOBODY}/info: connection refused\n"


@pytest.mark.parametrize("job", ["nope", "theirs"])
def test_a_job_that_is_not_ours_is_answered_with_those_that_are(job: str) -> None:
    result = run("check", "service-discovery", write(NOBODY), job)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"good.yml: no job '{job}' with an entry of ours; there are: well, ill\n"


def test_a_master_that_does_not_answer_in_time_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        result = run("check", "service-discovery", write(url), "well", "--timeout=200ms")
    assert result.exit_code == 1
    assert result.stderr == "well/0: could not be discovered: no answer within 0.2 s\n"


# -- targets --------------------------------------------------------------------------------------------


def test_the_table_tells_what_is_scraped_and_what_is_dropped(
    master: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run("targets", write(master), "well")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "well: 3 to scrape, 1 dropped" in result.stdout
    assert "http://10.0.0.11:8070/metrics" in result.stdout
    assert "dropped by relabelling" in result.stdout


def test_the_table_of_what_is_known_comes_before_what_is_not(master: str) -> None:
    result = run("targets", write(master))
    assert result.exit_code == 1
    assert "well: 3 to scrape" in result.stdout
    assert "ill/0: could not be discovered" in result.stderr


async def test_what_is_no_target_is_counted_below_the_table() -> None:
    swarm = Swarm(["mgr1"], ["wrk1"])
    swarm.create_network("monitoring")
    swarm.create_service("bare", replicas=3)
    swarm.create_service("web", replicas=2, networks=["monitoring"], labels={"prometheus.port": "1"})
    entry = "role: endpoints, networks: monitring"
    async with Daemon.on(swarm.settle(), "mgr1") as daemon:
        entries = f"[{{host: '{daemon.url}', {entry}}}, {{host: '{daemon.url}', {entry}}}]"
        Path("swarm.yml").write_text(f"scrape_configs:\n- job_name: x\n  dockerswarm_sd_configs: {entries}\n")
        shown = await asyncio.to_thread(run, "targets", "swarm.yml")
        listed = await asyncio.to_thread(run, "check", "service-discovery", "swarm.yml")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "x: 0 to scrape" in shown.stdout
    # the two entries share a provider: its tasks are counted once
    line = "skipped: 3 not_labelled, 2 no_shared_network (why: docs/operate.md#metrics)"
    assert shown.stdout.splitlines()[-1] == line
    assert (listed.exit_code, listed.stderr, json.loads(listed.stdout)) == (0, "", {"x": []})


def test_what_the_reasons_are_is_where_the_line_says() -> None:
    page, _, anchor = table.REASONS.partition("#")
    text = (Path(__file__).parents[1] / page).read_text()
    section = text.partition(f"\n## {anchor.capitalize()}\n")[2].partition("\n## ")[0]
    assert "(endpoints.md#which-tasks)" in section


# -- convert --------------------------------------------------------------------------------------------


def test_a_conversion_goes_to_standard_output_or_a_file() -> None:
    write(NOBODY)
    printed = run("convert", "good.yml", "--sd.url=http://swarm-sd:9963")
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert "- url: 'http://swarm-sd:9963/sd/well/0'" in printed.stdout
    written = run("convert", "good.yml", "--sd.url=http://swarm-sd:9963", "-o", "made.yml")
    assert (written.exit_code, written.output) == (0, "")
    assert Path("made.yml").read_text() == printed.stdout


@pytest.mark.parametrize("flags", [[], ["--sd.url=http://swarm-sd:9963", "--sd.directory=/sd"]])
def test_a_conversion_is_to_one_of_a_url_and_a_folder(flags: list[str]) -> None:
    result = run("convert", write(NOBODY), *flags)
    assert result.exit_code == 2
    assert "give one of --sd.url and --sd.directory" in result.stderr


@pytest.mark.parametrize("flag", ["--sd.url=swarm-sd:9963", "--sd.url=http://x/?y", "--sd.directory=a*"])
def test_a_url_or_folder_that_prometheus_could_not_use_is_exit_code_2(flag: str) -> None:
    result = run("convert", write(NOBODY), flag)
    assert (result.exit_code, result.stdout) == (2, "")
    assert flag.partition("=")[2] in result.stderr


def test_a_conversion_does_not_overwrite_its_original() -> None:
    before = Path(write(NOBODY)).read_text()
    result = run("convert", "good.yml", "--sd.url=http://swarm-sd:9963", "-o", "good.yml")
    assert result.exit_code == 2
    assert "overwrite" in result.stderr
    assert Path("good.yml").read_text() == before


def test_a_file_that_cannot_be_written_is_exit_code_1_and_one_line() -> None:
    write(NOBODY)
    Path("file").touch()
    result = run("convert", "good.yml", "--sd.url=http://swarm-sd:9963", "-o", "file/made.yml")
    assert result.exit_code == 1
    assert result.stderr.startswith("file/made.yml: ")
    assert result.stderr.count("\n") == 1


# -- serve ----------------------------------------------------------------------------------------------


def clear_lines(text: str) -> list[str]:
    """What a person is told, without log lines."""
    return [line for line in text.splitlines() if not line.startswith("time=")]


def test_a_port_in_use_is_exit_code_1_and_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = process("serve", f"--config.file={write(NOBODY)}", f"--web.listen-address=127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (1, "")
    assert clear_lines(done.stderr) == [
        f"swarm-sd: cannot listen on 127.0.0.1:{port}: Address already in use"
    ]


def test_an_address_of_another_machine_is_exit_code_1_and_one_line() -> None:
    done = process("serve", f"--config.file={write(NOBODY)}", "--web.listen-address=192.0.2.1:9963")
    assert (done.returncode, done.stdout) == (1, "")
    assert clear_lines(done.stderr) == [
        "swarm-sd: cannot listen on 192.0.2.1:9963: Cannot assign requested address"
    ]


@pytest.mark.parametrize("flag", ["--storage.path", "--file-sd.directory"])
def test_a_folder_that_cannot_be_written_into_is_exit_code_1_and_named(flag: str) -> None:
    Path("file").touch()
    done = process("serve", f"--config.file={write(NOBODY)}", f"{flag}=file/below")
    assert (done.returncode, done.stdout) == (1, "")
    assert clear_lines(done.stderr) == ["swarm-sd: cannot write into file/below: Not a directory"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_exit_code_1_and_named(folder: Path) -> None:
    (folder / "mine").mkdir(mode=0o500)
    done = process("serve", f"--config.file={write(NOBODY)}", "--storage.path=mine")
    assert done.returncode == 1
    assert clear_lines(done.stderr) == ["swarm-sd: cannot write into mine: Permission denied"]


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--mass-loss.share=2", "'2' is not a share; write a number from 0 to 1"),
        ("--mass-loss.share=-0.1", "'-0.1' is not a share"),
        ("--mass-loss.share=half", "'half' is not a share; write a number from 0 to 1"),
        ("--mass-loss.share=nan", "'nan' is not a share"),
        ("--mass-loss.hold=5", "not a valid duration string: '5'; write it like 30s"),
        ("--storage.max-age=-1h", "not a valid duration string: '-1h'"),
        ("--web.listen-address=here", "not a listen address: 'here'; write it like 127.0.0.1:9963"),
        ("--web.listen-address=::1:9963", "an IPv6 address needs brackets: [::1]:9963"),
        ("--web.listen-address=:65536", "not a listen address: ':65536'"),
        ("--log.level=loud", "'loud' is not one of"),
        ("--log.format=xml", "'xml' is not one of"),
        ("--no.such.flag", "No such option"),
    ],
)
def test_a_flag_that_makes_no_sense_is_exit_code_2_and_named(flag: str, why: str) -> None:
    result = run("serve", f"--config.file={write(NOBODY)}", flag)
    assert result.exit_code == 2
    assert flag.partition("=")[0] in result.stderr
    assert why in result.stderr


def test_serve_needs_a_configuration() -> None:
    result = run("serve")
    assert result.exit_code == 2
    assert "give one of --config.file and --docker" in result.stderr


def test_without_an_entry_of_ours_nothing_is_waited_for() -> None:
    file = Path("others.yml")
    file.write_text("scrape_configs:\n- {job_name: x, static_configs: [{targets: ['a:1']}]}\n")
    began = time.monotonic()
    result = run("check", "service-discovery", str(file), "--timeout=60s")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {})
    assert time.monotonic() - began < 50


# -- help -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ([], "serve"),
        (["serve"], "--config.file"),
        (["check"], "service-discovery"),
        (["check", "config"], "FILE"),
        (["check", "service-discovery"], "[JOB]"),
        (["targets"], "--timeout"),
        (["convert"], "--sd.directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help(flag: str, command: list[str], named: str) -> None:
    result = run(*command, flag)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(" ".join(["Usage: swarm-sd", *command]))
    assert named in result.stdout


def test_the_version_is_told_by_the_program_and_by_the_module() -> None:
    expected = f"swarm-sd, version {swarm_sd.__version__}\n"
    assert process("--version").stdout == expected
    module = [sys.executable, "-m", "swarm_sd", "--version"]
    assert subprocess.run(module, capture_output=True, text=True, timeout=30).stdout == expected
