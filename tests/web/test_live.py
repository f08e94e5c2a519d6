"""Server-sent events: when there is something new, once, and an end that is an end."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from tests.web.world import TARGETS, serving

from swarm_sd.web.about import LastReload
from swarm_sd.web.api.live import Live


@asynccontextmanager
async def listening(served):
    """A stream, as a function that gives the next (event, data); ("", "") for a comment, None for the end."""
    async with served.ask("/api/v1/live") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"

        async def following():
            async with asyncio.timeout(10):
                text = (await answer.content.readuntil(b"\n\n")).decode()
            fields = dict(line.partition(": ")[::2] for line in text.split("\n") if line and line[0] != ":")
            data = fields.get("data", "")
            return fields.get("event", ""), json.loads(data) if data else ""

        following.ended = lambda: answer.content.read()
        yield following


def quick(**more):
    """Streams that need no patience."""
    return lambda api: Live(api._running, **({"tick": 0.01, "heartbeat": 10.0} | more))


async def test_who_comes_is_told_at_once_where_things_are():
    async with serving(live=quick()) as served, listening(served) as following:
        event, told = await following()
        assert (event, told["generation"]) == ("change", 1)
        assert told["status"]


async def test_a_change_of_the_targets_is_told():
    async with serving(live=quick()) as served, listening(served) as following:
        await following()
        served.world.targets = [*TARGETS, {"__address__": "10.0.0.9:80"}]
        seen = [await following()]
        while seen[-1][1]["generation"] < 2:  # how many there are may be told before what changed is compared
            seen.append(await following())
        assert [event for event, _ in seen] == ["change"] * len(seen)


async def test_a_change_of_how_things_fare_is_told_and_one_that_is_taken_back():
    async with serving(live=quick()) as served, listening(served) as following:
        _, good = await following()
        served.world.fails()
        _, bad = await following()
        assert bad["status"] != good["status"]
        served.world.targets = list(TARGETS)
        _, again = await following()
        assert again == good


async def test_a_reload_is_told():
    async with serving(live=quick()) as served, listening(served) as following:
        _, before = await following()
        served.world.reload = LastReload(successful=False, at=11.0)
        _, after = await following()
        assert after["status"] != before["status"]


async def test_nothing_new_is_a_comment_now_and_then():
    async with serving(live=quick(heartbeat=0.05)) as served, listening(served) as following:
        assert (await following())[0] == "change"
        assert [await following() for _ in range(3)] == [("", "")] * 3


async def test_events_are_no_closer_than_a_tick():
    async with serving(live=quick(tick=0.3)) as served, listening(served) as following:
        loop = asyncio.get_running_loop()
        await following()
        served.world.fails()
        await following()
        first = loop.time()
        served.world.targets = list(TARGETS)
        await following()
        assert loop.time() - first > 0.2


async def test_a_stream_ends_whole_when_the_daemon_ends():
    async with serving(live=quick()) as served, listening(served) as following:
        await following()
        served.api.live.end()
        async with asyncio.timeout(5):
            assert await following.ended() == b""  # a stream that is cut raises
        assert (await served.get("/api/v1/live", 503))["error"] == "swarm-sd is about to end"


async def test_of_too_many_the_last_is_told_to_come_later():
    async with serving(live=quick(most=1, heartbeat=0.05)) as served:
        async with listening(served) as following:
            await following()
            told = await served.get("/api/v1/live", 503)
            assert told["errorType"] == "unavailable"
            assert told["error"] == "1 clients listen already"
        async with asyncio.timeout(10):  # who is gone is noticed with the next comment
            while True:
                async with served.ask("/api/v1/live") as answer:
                    if answer.status == 200:
                        break


async def test_nobody_looks_when_nobody_listens():
    async with serving(live=quick(heartbeat=0.02)) as served:
        async with listening(served) as following:
            await following()
            looking = served.api.live._looking
            assert not looking.done()
        async with asyncio.timeout(10):
            while not looking.done():
                await asyncio.sleep(0.01)
        async with listening(served) as following:
            assert (await following())[0] == "change"


async def test_a_bug_ends_the_streams_instead_of_leaving_them_silent():
    async with serving(live=quick()) as served, listening(served) as following:
        await following()
        served.world.reload = None
        async with asyncio.timeout(5):
            assert await following.ended() == b""


@pytest.mark.parametrize("count", [40])
async def test_many_listeners_are_told_all(count):
    async with serving(live=quick()) as served:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            served.session = session

            async def one():
                async with listening(served) as following:
                    await following()
                    while (await following())[1]["generation"] < 2:
                        pass

            tasks = [asyncio.create_task(one()) for _ in range(count)]
            async with asyncio.timeout(20):
                while served.api.live._listeners < count:
                    await asyncio.sleep(0.01)
                served.world.targets = [*TARGETS, {"__address__": "10.0.0.9:80"}]
                await asyncio.gather(*tasks)
