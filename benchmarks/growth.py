"""How does the cost of swarm mode grow, with the tasks of a cluster and with the jobs that ask it?

CPU seconds and requests to the mock a refresh, which is what the mock says: a request for every task. The
requests must not grow with the jobs.
"""

from __future__ import annotations

import json
from collections import Counter

from benchmarks.daemon import get
from benchmarks.measure import table
from benchmarks.swarm_mode import Cost, mock, swarm_sd

SIZES = ((50, 1_000), (500, 10_000), (5_000, 100_000))
JOBS = (1, 10, 50)
ROUNDS = 3
LISTS = ("/nodes", "/services", "/tasks", "/networks")


def main() -> None:
    rows = []
    for nodes, tasks in SIZES:
        for change, what in ((0.0, "nothing changes"), (0.01, "1% of the tasks change")):
            with mock(nodes, tasks, change) as port:
                found = swarm_sd(port, "20s" if tasks > 20_000 else "3s", rounds=ROUNDS)
            rows.append((nodes, tasks, what, *_cells(found)))
    table(("nodes", "tasks", "what", "CPU s a refresh", "s between refreshes", "most RSS MiB"), rows)
    print()
    rows = []
    for jobs in JOBS:
        with mock(500, 10_000, 0.01) as port:
            found = swarm_sd(port, "5s", jobs=jobs, rounds=ROUNDS)
            asked = Counter(json.loads(get(f"http://127.0.0.1:{port}/__requests")))
        each = [(asked[path] + asked[f"{path}?part"]) / asked["/tasks"] for path in LISTS]
        rows.append((jobs, *_cells(found), *(f"{count:.1f}" for count in each)))
    print("500 nodes, 10,000 tasks, 1% of them change, refresh_interval 5s; requests a refresh by list\n")
    header = ("jobs", "CPU s a refresh", "s between refreshes", "most RSS MiB", *LISTS)
    table(header, rows)


def _cells(found: Cost) -> tuple[str, str, str]:
    return f"{found.cpu:.3f}", f"{found.seconds:.1f}", f"{found.most:.0f}"


if __name__ == "__main__":
    main()
