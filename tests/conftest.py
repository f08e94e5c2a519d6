"""What holds for every test."""

import pytest
from hypothesis import settings

# a machine that is busy with other tests is no reason to fail: what takes too long, the test's own limit ends
settings.register_profile("swarm-sd", deadline=None)
settings.load_profile("swarm-sd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests on the real cluster first: one runs at a time, and the others beside it."""
    items.sort(key=lambda item: "/e2e/real/" not in item.path.as_posix())
