"""Runs every benchmark, one after the other; ``python -m benchmarks refresh serving`` runs some."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

QUESTIONS = (
    "refresh",
    "relabelling",
    "daemon",
    "serving",
    "page",
    "swarm_mode",
    "growth",
    "freshness",
    "steady",
    "registration",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("question", nargs="*", choices=[[], *QUESTIONS], help="which ones; all by default")
    wanted = parser.parse_args().question or QUESTIONS
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    for name in wanted:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n## {name}\n{(module.__doc__ or '').strip().splitlines()[0]}\n", flush=True)
        module.main()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
