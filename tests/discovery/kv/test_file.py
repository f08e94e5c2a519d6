"""file:// and nodes://: lists that no store holds."""

import asyncio
import os

import pytest
from tests.discovery.kv.servers import eventually, watching

from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.kv import file as module
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts
from swarm_sd.discovery.kv.stores import backend
from swarm_sd.provider import DiscoveryError

A, B = "10.0.0.1:2375", "10.0.0.2:2375"


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(module, "LOOK", 0.01)
    monkeypatch.setattr(module, "SETTLED", 0.02)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "nodes"


@pytest.fixture
def listed(path):
    return backend(Discovery.from_yaml(f"file://{path}"), DiscoveryOpts(), HTTPClientConfig())


async def test_a_file_is_read_with_ranges_and_comments_and_bad_lines_are_counted(path, listed):
    path.write_text("10.0.0.[1:2]:2375 # both\nnonsense\n")
    found = await listed.nodes()
    assert found == Registered((A, B), None, {"invalid_address": 1})
    assert await listed.nodes() is found


async def test_an_empty_file_has_no_nodes(path, listed):
    path.write_text("# none yet\n")
    assert await listed.nodes() == Registered(())


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
async def test_a_file_that_cannot_be_read_is_an_error_that_names_it(kind, path, listed):
    if kind == "folder":
        path.mkdir()
    if kind == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DiscoveryError, match=str(path)) as caught:
        await listed.nodes()
    assert caught.value.reason == "file"


async def test_a_file_of_any_size_is_not_taken(path, listed, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    path.write_text("a:1\n" * 10)
    with pytest.raises(DiscoveryError, match="larger than 10 bytes"):
        await listed.nodes()


async def test_every_way_to_change_a_file_is_a_hint(path, listed):
    path.write_text(f"{A}\n")
    async with watching(listed) as hints:
        await hints.next()  # it may have changed before
        path.write_text(f"{B}\n")
        await hints.next()
        replacement = path.with_name("new")
        replacement.write_text(f"{A}\n")
        replacement.replace(path)
        await hints.next()
        assert (await listed.nodes()).nodes == (A,)
        path.unlink()
        await hints.next()
        with pytest.raises(DiscoveryError):
            await listed.nodes()
        path.write_text(f"{A}\n{B}\n")
        await hints.next()
        assert (await listed.nodes()).nodes == (A, B)


async def test_a_link_on_the_way_that_is_replaced_is_a_hint(tmp_path):
    for name, node in (("one", A), ("two", B)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nodes").write_text(node)
    link = tmp_path / "current"
    link.symlink_to("one")
    listed = backend(Discovery.from_yaml(f"file://{link}/nodes"), DiscoveryOpts(), HTTPClientConfig())
    async with watching(listed) as hints:
        await hints.next()
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(link)  # as Kubernetes replaces a ConfigMap
        await hints.next()
        assert (await listed.nodes()).nodes == (B,)


async def test_a_file_that_does_not_change_is_no_hint(path, listed):
    path.write_text(A)
    async with watching(listed) as hints:
        await hints.next()
        await asyncio.sleep(0.1)
        assert hints.count == 1


async def test_a_file_is_not_believed_while_it_is_being_written(path, listed, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", 0.3)
    path.write_text(A)
    os.utime(path, (0, 0))
    assert (await listed.nodes()).nodes == (A,)
    with path.open("w") as file:  # empty from now on
        listing = asyncio.create_task(listed.nodes())
        await asyncio.sleep(0.1)
        file.write(f"{A}\n{B}\n")
    assert (await listing).nodes == (A, B)


async def test_a_file_that_is_written_without_end_is_read_all_the_same(path, listed):
    path.write_text(A)

    async def keep_writing():
        while True:
            path.write_text(A)
            await asyncio.sleep(0.001)

    writing = asyncio.create_task(keep_writing())
    async with asyncio.timeout(10):
        assert (await listed.nodes()).nodes in ((A,), ())
    writing.cancel()


async def test_nodes_of_the_configuration_never_change():
    listed = backend(Discovery.from_yaml("10.0.0.[1:2]:2375"), DiscoveryOpts(), HTTPClientConfig())
    assert await listed.nodes() == Registered((A, B))
    assert await listed.nodes() is await listed.nodes()
    async with watching(listed) as hints:
        await asyncio.sleep(0)
        assert hints.count == 0


async def test_looks_are_taken_off_the_loop(path, listed):
    path.write_text(A)
    async with watching(listed) as hints:
        await eventually(lambda: hints.count)
    assert listed.hosts() == ()
    await listed.close()
