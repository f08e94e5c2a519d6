"""What is wrong with the file as a whole: nothing in it for us, or Prometheus is given it as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from swarm_sd.config import Config
from swarm_sd.doctor.findings import Finding, counted, listed, ok, problem

_OF_CONVERT = re.compile(r"https?://[^\s'\"]+/sd/")
_CONFIG_FLAG = re.compile(r"--?config\.file=(.+)")


def judged(config: Config, *, converts: bool, text: str, readers: Sequence[int]) -> list[Finding]:
    """What is to be said of the file with this ``text``. ``readers``: the processes of Prometheus that are
    given it; ``converts``: whether it is a file at all, not what ``--docker`` made. Pure.
    """
    if not config.jobs:
        return [_nothing_ours(config.path, text)]
    entries = sum(len(job.sd_configs) for job in config.jobs)
    counts = f"{counted(len(config.jobs), 'job')} with {counted(entries, 'entry', 'entries')}"
    if not converts:
        return [ok("configuration", counts)]
    convert = f"swarm-sd convert {config.path} --sd.url=http://SWARM-SD:9963 -o converted.yml"
    if readers:
        return [
            problem(
                "not-converted",
                f"Prometheus (process {listed(map(str, readers))}) is given this very file",
                "Prometheus itself does not know swarm_sd_configs, hosts: or role: endpoints, and would "
                "discover the rest itself: this file is for swarm-sd",
                f"{convert}; then prometheus --config.file=converted.yml",
            )
        ]
    return [ok("configuration", f"{counts}; for Prometheus: {convert}")]


def _nothing_ours(path: Path, text: str) -> Finding:
    if _OF_CONVERT.search(text):
        return problem(
            "converted-file",
            "there is no entry of ours in it, but HTTP SD of swarm-sd",
            "it is what swarm-sd convert wrote, the file for Prometheus",
            f"give swarm-sd the file that {path} was made of",
        )
    return problem(
        "nothing-ours",
        "there is no entry of ours in it: nothing is discovered",
        "no scrape config has swarm_sd_configs, dockerswarm_sd_configs or docker_sd_configs",
        "scrape_configs:\n  - job_name: swarm\n    dockerswarm_sd_configs:\n"
        "      - {host: unix:///var/run/docker.sock, role: tasks}",
    )


def text_of(path: Path) -> str:
    """What is in the file; "" where there is none. Blocks."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def given_to_prometheus(path: Path, processes: Path = Path("/proc")) -> tuple[int, ...]:
    """The processes of Prometheus on this machine that are given ``path``, by number. Blocks."""
    return tuple(number for number, file in _prometheuses(processes) if file.exists() and file.samefile(path))


def _prometheuses(processes: Path) -> Iterator[tuple[int, Path]]:
    """(number, configuration file) of each."""
    for folder in processes.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name != "prometheus":
                continue
            flags = " ".join(words[1:]).replace("--config.file ", "--config.file=")
            found = _CONFIG_FLAG.search(flags)
            if found is not None:
                yield int(folder.name), (folder / "cwd").resolve() / found[1].partition(" ")[0]
        except OSError:
            continue  # it has just ended, or is not ours to look at
