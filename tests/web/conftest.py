"""Certificates for the tests of what is served, and nothing that holds the event loop up."""

from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import trustme
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop():
    """A file or lock that holds the event loop up is an error where the program does it; a stat may be."""
    with blockbuster_ctx("swarm_sd.web", excluded_modules=["aiohttp"]) as blocking:
        blocking.functions["os.stat"].can_block_in("swarm_sd/web/config_file.py", "_stamp")
        yield


@dataclass
class Pems:
    """A folder with cert.pem, key.pem and ca.pem, and client.pem with client.key for a client."""

    folder: Path
    ca: trustme.CA

    def issue(self, *names, to="cert.pem", key="key.pem"):
        made = self.ca.issue_cert(*names)
        (self.folder / to).write_bytes(made.cert_chain_pems[0].bytes())
        (self.folder / key).write_bytes(made.private_key_pem.bytes())

    def text(self, name):
        return (self.folder / name).read_text()


@pytest.fixture
def pems(tmp_path):
    made = Pems(tmp_path, trustme.CA())
    made.issue("localhost", "127.0.0.1")
    made.issue("poller.example", "10.0.0.7", "ops@example.org", to="client.pem", key="client.key")
    (tmp_path / "ca.pem").write_bytes(made.ca.cert_pem.bytes())
    return made


def hashed(password, cost=4):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
