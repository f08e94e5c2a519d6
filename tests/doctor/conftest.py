"""What holds for every test of the doctor."""

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop():
    """A file, socket or lock that holds the event loop up is an error where the program does it."""
    with blockbuster_ctx("swarm_sd.doctor"):
        yield
