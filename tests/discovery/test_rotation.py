"""Fail-over: who is asked, in which order, and how long it may take."""

import asyncio
import time

import pytest

from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.silence import Pace
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.rotation import Rotation
from swarm_sd.discovery.swarm.info import parse_info
from swarm_sd.provider import DiscoveryError
from swarm_sd.sim import faults
from swarm_sd.sim.clusters import example
from swarm_sd.sim.manager import Manager


class Hosts:
    """Answers by host: a value, a DiscoveryError, or "hang"."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def __call__(self, host):
        self.asked.append(host)
        answer = self.answers[host]
        if answer == "hang":
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(host):
    return DiscoveryError("refused", f"{host}: connection refused")


async def test_a_working_host_is_stayed_on():
    hosts, rotation = Hosts(a=1, b=2), Rotation(["a", "b"])
    for _ in range(3):
        assert await rotation.ask(hosts) == ("a", 1)
    assert hosts.asked == ["a", "a", "a"]


async def test_the_next_host_is_asked_at_once_and_stayed_on():
    hosts, rotation = Hosts(a=refused("a"), b=2), Rotation(["a", "b"])
    assert await rotation.ask(hosts) == ("b", 2)
    hosts.answers["a"] = 1
    assert await rotation.ask(hosts) == ("b", 2)
    assert hosts.asked == ["a", "b", "b"]
    a, b = rotation.status()
    assert (a.state, a.active, a.last_error, dict(a.failures)) == (
        "down",
        False,
        "a: connection refused",
        {"refused": 1},
    )
    assert (b.state, b.active, b.last_error) == ("up", True, "")


async def test_the_round_starts_at_the_host_that_answered_last():
    hosts, rotation = Hosts(a=refused("a"), b=2, c=3), Rotation(["a", "b", "c"])
    await rotation.ask(hosts)
    hosts.answers["b"] = refused("b")
    assert await rotation.ask(hosts) == ("c", 3)
    assert hosts.asked == ["a", "b", "b", "c"]


async def test_when_none_answers_every_host_is_named():
    hosts, rotation = Hosts(a=refused("a"), b=DiscoveryError("timeout", "b: no answer")), Rotation(["a", "b"])
    with pytest.raises(DiscoveryError) as caught:
        await rotation.ask(hosts)
    assert caught.value.reason == "refused"
    assert str(caught.value) == "a: connection refused; b: no answer"


async def test_a_silent_host_does_not_hold_up_the_others():
    hosts, rotation = Hosts(a="hang", b=2), Rotation(["a", "b"], patience=0.05)
    started = time.monotonic()
    assert await rotation.ask(hosts) == ("b", 2)
    assert time.monotonic() - started < 1
    assert rotation.status()[0].state == "down"
    assert dict(rotation.status()[0].failures) == {"slow": 1}


async def test_a_slow_host_that_answers_before_the_others_still_counts():
    released = asyncio.Event()

    async def question(host):
        if host == "a":
            await released.wait()
            return 1
        released.set()
        raise refused(host)

    assert await Rotation(["a", "b"], patience=0.01).ask(question) == ("a", 1)


async def test_a_round_is_bounded_however_many_hosts_hang():
    names = [f"h{number}" for number in range(200)]
    hosts, rotation = Hosts(**dict.fromkeys(names, "hang")), Rotation(names, patience=2, spread=0.2)

    async def question(host):
        try:
            async with asyncio.timeout(0.2):
                await hosts(host)
        except TimeoutError:
            raise DiscoveryError("timeout", host) from None

    started = time.monotonic()
    with pytest.raises(DiscoveryError):
        await rotation.ask(question)
    assert time.monotonic() - started < 5
    assert hosts.asked == names


async def test_nothing_is_left_running_after_a_round_or_its_cancellation():
    hosts, rotation = Hosts(a="hang", b="hang", c=3), Rotation(["a", "b", "c"], patience=0.01)
    await rotation.ask(hosts)
    hosts.answers["c"] = "hang"
    task = asyncio.create_task(rotation.ask(hosts))
    while len(hosts.asked) < 6:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_bug_that_one_hosts_answer_brings_out_does_not_keep_us_from_the_next():
    hosts, rotation = Hosts(a=KeyError("bug"), b=2), Rotation(["a", "b"])
    assert await rotation.ask(hosts) == ("b", 2)
    assert dict(rotation.status()[0].failures) == {"bug": 1}


async def test_learned_hosts_are_asked_after_the_configured_and_go_when_not_told_of_any_more():
    hosts = Hosts(a=refused("a"), b=refused("b"), c=3)
    rotation = Rotation(["a", "b"])
    rotation.learn(["c", "a"])
    assert rotation.hosts == ("a", "b", "c")
    assert await rotation.ask(hosts) == ("c", 3)
    rotation.learn([])
    assert rotation.hosts == ("a", "b", "c")  # the one that answers stays
    assert rotation.active == "c"
    hosts.answers["a"] = 1
    hosts.answers["c"] = refused("c")
    assert await rotation.ask(hosts) == ("a", 1)
    rotation.learn([])
    assert rotation.hosts == ("a", "b")


async def test_a_learned_host_that_is_forgotten_while_it_is_asked_is_no_crash():
    rotation = Rotation(["b"], patience=0.01)
    rotation.learn(["slow"])
    rotation._active = 1

    async def question(host):
        if host == "slow":
            await asyncio.Event().wait()
        rotation._active = 0
        rotation.learn([])
        return 2

    assert await rotation.ask(question) == ("b", 2)
    assert [status.name for status in rotation.status()] == ["b"]


# --- hosts that never answer what they took at a bad moment


class Deaf:
    """Hosts that never answer the first ``deaf`` questions each; then a value or a DiscoveryError."""

    def __init__(self, deaf, answer=1, limit=10.0):
        self.deaf = deaf
        self.answer = answer
        self.limit = limit
        self.asked = []
        self.ended = []

    async def __call__(self, host):
        self.asked.append(host)
        number = self.asked.count(host)
        try:
            if number <= self.deaf:
                async with asyncio.timeout(self.limit):
                    await asyncio.Event().wait()
        except TimeoutError:
            raise DiscoveryError("timeout", f"{host}: no answer") from None
        finally:
            self.ended.append((host, number))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def since_now():
    started = time.monotonic()
    return lambda _host: time.monotonic() - started


async def test_a_silent_host_is_asked_anew_and_nothing_is_left_of_the_first_question():
    hosts, rotation = Deaf(1), Rotation(["a"], again=(0.02,))
    assert await rotation.ask(hosts, silence=since_now()) == ("a", 1)
    assert hosts.asked == ["a", "a"]
    assert sorted(hosts.ended) == [("a", 1), ("a", 2)]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    [status] = rotation.status()
    assert (status.state, dict(status.failures)) == ("up", {})


async def test_it_is_asked_anew_only_when_everybody_was_asked():
    hosts, rotation = Deaf(1), Rotation(["a", "b", "c"], patience=0.1, again=(0.01,))
    host, _ = await rotation.ask(hosts, silence=since_now())
    assert hosts.asked[:3] == ["a", "b", "c"]
    assert len(hosts.asked) > 3
    assert [one.state for one in rotation.status()].count("up") == 1
    assert next(one for one in rotation.status() if one.active).name == host
    assert {reason for one in rotation.status() for reason in one.failures} <= {"slow"}
    assert all(sum(one.failures.values()) <= 1 for one in rotation.status())


async def test_it_is_asked_so_many_times_at_most_and_given_up_with_the_first_question():
    hosts, rotation = Deaf(99, limit=0.3), Rotation(["a"], again=(0.01, 0.02))
    started = time.monotonic()
    with pytest.raises(DiscoveryError) as caught:
        await rotation.ask(hosts, silence=since_now())
    assert hosts.asked == ["a", "a", "a"]
    assert caught.value.reason == "timeout"
    assert dict(rotation.status()[0].failures) == {"timeout": 1}
    assert time.monotonic() - started < 5
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_between_two_questions_to_a_host_is_as_much_time_however_long_it_was_silent():
    times = []

    async def question(host):
        times.append(time.monotonic())
        if len(times) < 3:
            await asyncio.Event().wait()
        return 1

    await Rotation(["a"], again=(0.05, 0.1)).ask(question, silence=lambda _host: 100.0)
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.1


async def test_a_second_question_that_fails_takes_nothing_from_the_first():
    released = asyncio.Event()
    asked = []

    async def question(host):
        asked.append(host)
        if len(asked) == 1:
            await released.wait()
            return 1
        released.set()
        raise refused(host)

    assert await Rotation(["a"], again=(0.01,)).ask(question, silence=since_now()) == ("a", 1)
    assert asked == ["a", "a"]


@pytest.mark.parametrize("silence", [None, lambda _host: 0.0], ids=["nobody can tell", "it is sending"])
async def test_a_host_of_which_no_silence_is_known_is_asked_once(silence):
    hosts = Deaf(99, limit=0.1)
    with pytest.raises(DiscoveryError):
        await Rotation(["a"], again=(0.01, 0.01)).ask(hosts, silence=silence)
    assert hosts.asked == ["a"]


async def test_a_bug_that_the_second_answer_brings_out_is_told():
    rotation = Rotation(["a"], again=(0.01,))
    with pytest.raises(DiscoveryError, match="KeyError"):
        await rotation.ask(Deaf(1, answer=KeyError("bug")), silence=since_now())
    assert dict(rotation.status()[0].failures) == {"bug": 1}


# --- the same of a Docker API


class Late(faults.Fault):
    """Takes its time before it begins to answer."""

    def __init__(self, seconds):
        self.seconds = seconds

    async def answer(self, connection, request, honest, /):
        await asyncio.sleep(self.seconds)
        return await super().answer(connection, request, honest)


def api_of(*managers, again=(0.1,)):
    api = DockerAPI([Host.from_yaml(one.url) for one in managers], HTTPClientConfig())
    api.rotation._again = again
    return api


async def test_a_manager_that_never_answers_its_first_request_answers_the_second():
    async with Manager(example()) as manager:
        manager.inject(faults.Hang(), times=1)
        api = api_of(manager)
        started = time.monotonic()
        _, info = await api.get("/info", parse_info)
        await api.close()
        assert time.monotonic() - started < 5
        assert len(info.nodes) == len(example().engines)
        assert manager.count("/info") == 2


async def test_a_manager_that_is_sending_is_not_asked_twice():
    async with Manager(example()) as manager:
        manager.inject(faults.Slow(step=1000, pause=0.1))
        api = api_of(manager, again=(0.4,))
        await api.get("/info", parse_info)
        await api.close()
        assert manager.count("/info") == 1


async def test_who_is_sending_is_waited_for_and_the_next_is_not_asked():
    async with Manager(example()) as slow, Manager(example()) as other:
        slow.inject(faults.Slow(step=1000, pause=0.1))
        api = api_of(slow, other, again=())
        api.rotation._patience = 0.4
        answered, _ = await api.get("/info", parse_info)
        await api.close()
        assert str(answered) == slow.url
        assert other.count("/info") == 0


async def test_who_stops_in_the_middle_is_left_for_the_next():
    async with Manager(example()) as stopped, Manager(example()) as other:
        stopped.inject(faults.HangMidBody())
        api = api_of(stopped, other, again=())
        api.rotation._patience = 0.1
        answered, _ = await api.get("/info", parse_info)
        await api.close()
        assert str(answered) == other.url


async def test_who_usually_takes_long_is_given_the_time_and_asked_once():
    async with Manager(example()) as slow, Manager(example()) as other:
        api = api_of(slow, other)
        api.rotation._patience = 0.1
        pace = Pace()
        pace.usual = 1.0
        slow.inject(Late(0.4))
        answered, _ = await api.ask(lambda _, get: get("/info", parse_info), pace=pace)
        await api.close()
        assert str(answered) == slow.url
        assert (slow.count("/info"), other.count("/info")) == (1, 0)
        assert 0.3 < pace.usual < 1.0


async def test_what_it_answered_before_does_not_hide_that_it_is_silent_now():
    async def question(host, get):
        return await get("/info", parse_info), await get("/version", bytes)

    async with Manager(example()) as manager:
        manager.inject(faults.Hang(), path="/version", times=1)
        api = api_of(manager)
        await api.ask(question)
        await api.close()
        assert (manager.count("/info"), manager.count("/version")) == (2, 2)


async def test_a_host_tells_how_long_its_last_good_answer_took():
    async def question(host):
        if host == "a":
            raise refused(host)
        await asyncio.sleep(0.02)
        return 1

    rotation = Rotation(["a", "b", "c"])
    await rotation.ask(question)
    a, b, c = rotation.status()
    assert (a.latency, c.latency) == (None, None)
    assert 0.01 < b.latency < 5
