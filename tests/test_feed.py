"""What is believed of a provider's updates: completeness, restored groups, the brake on mass loss."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_sd.brake import MassLoss, lost_share
from swarm_sd.feed import Feed
from swarm_sd.model import TargetGroup
from swarm_sd.provider import SDConfig


def group(source, *addresses, **labels):
    return TargetGroup(source, tuple({"__address__": address} for address in addresses), labels)


def ten(source="nodes", start=0):
    return group(source, *(f"n{number}:1" for number in range(start, start + 10)))


class Scripted:
    """A provider that a test speaks through; ``wanted`` are the sources it says are needed."""

    def __init__(self, *wanted):
        self.wanted = frozenset(wanted)

    def sources(self):
        return self.wanted

    async def run(self, up, /):
        self.up = up
        await asyncio.Event().wait()


class ScriptedConfig(SDConfig, frozen=True, kw_only=True):
    kind = "scripted"


@pytest.fixture
async def make():
    tasks = []

    async def start(*wanted, share=0.5, hold=60.0, restored=None):
        changes = []
        provider = Scripted(*wanted)
        feed = Feed(ScriptedConfig(), MassLoss(share, hold), lambda: changes.append(feed.version))
        feed.config = type("Config", (), {"kind": "scripted", "provider": lambda self: provider})()
        if restored is not None:
            feed.restore(restored, confirmed=1000.0)
        tasks.append(asyncio.create_task(feed.run()))
        await asyncio.sleep(0)
        return feed, changes

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_list_is_known_once_every_source_was_heard(make):
    feed, changes = await make("masters", "nodes")
    feed.up([group("masters", "m:1")])
    assert feed.state() == "unknown"
    feed.up([group("nodes")])
    assert feed.state() == "known"
    assert changes  # it became known though no target came


async def test_nothing_heard_is_not_an_empty_list(make):
    feed, _ = await make()
    assert feed.state() == "unknown"
    feed.up([])
    assert feed.state() == "known"


async def test_an_update_that_changes_nothing_is_no_change(make):
    feed, changes = await make("nodes")
    feed.up([ten()])
    seen, version = len(changes), feed.version
    feed.up([ten()])
    assert (len(changes), feed.version) == (seen, version)


async def test_a_group_without_targets_is_gone_and_other_groups_stay(make):
    feed, _ = await make("a", "b", share=1.0)
    feed.up([group("a", "x:1"), group("b", "y:1")])
    feed.up([group("a")])
    assert set(feed.groups) == {"b"}


async def test_restored_groups_are_served_until_the_provider_is_complete(make):
    feed, _ = await make(
        "masters", "nodes", restored=[group("masters", "m:1"), ten(), group("gone", "n0:1")], share=1
    )
    assert (feed.state(), feed.targets()) == ("restored", 12)
    feed.up([group("masters", "m:1", "m2:1")])
    assert (feed.state(), feed.targets(), feed.stale_since()) == ("restored", 13, 1000.0)
    feed.up([ten()])
    # a restored source that the provider does not have any more goes then
    assert (feed.state(), feed.targets(), feed.stale_since()) == ("known", 12, None)
    assert "gone" not in feed.groups


async def test_a_mass_loss_is_held_back_and_ends_when_the_targets_return(make):
    feed, _ = await make("nodes")
    feed.up([ten()])
    feed.up([group("nodes")])
    assert (feed.targets(), feed.held_since is not None, feed.holds) == (10, True, 1)
    feed.up([group("nodes", "n0:1", "n1:1")])
    assert (feed.targets(), feed.holds) == (10, 1)
    feed.up([ten()])
    assert (feed.targets(), feed.held_since) == (10, None)


async def test_a_loss_that_is_no_mass_loss_is_taken_at_once(make):
    feed, _ = await make("nodes")
    feed.up([ten()])
    feed.up([group("nodes", *(f"n{number}:1" for number in range(5)))])
    assert (feed.targets(), feed.holds) == (5, 0)


async def test_a_mass_loss_that_lasts_is_believed_when_an_answer_still_says_so(make):
    feed, changes = await make("nodes", hold=0.05)
    feed.up([ten()])
    feed.up([group("nodes", "n0:1")])
    before = len(changes)
    await asyncio.sleep(0.1)
    # time alone is no proof: nobody may have answered since
    assert (feed.targets(), len(changes)) == (10, before)
    feed.up([group("nodes", "n0:1")])
    assert (feed.targets(), feed.held_since, len(changes)) == (1, None, before + 1)


async def test_a_loss_that_the_provider_was_told_of_is_taken_at_once(make):
    feed, _ = await make("web", "db")
    feed._provider.announced = lambda source: source == "web"
    feed.up([ten("web"), group("db", "d0:1", "d1:1")])
    feed.up([TargetGroup("web")])
    assert (feed.targets(), feed.holds) == (2, 0)
    feed.up([TargetGroup("db")])
    assert (feed.targets(), feed.holds) == (2, 1), "of the other it was told nothing"


async def test_a_small_loss_beside_one_that_was_told_of_is_a_share_of_all(make):
    feed, _ = await make("web", "db")
    feed._provider.announced = lambda source: source == "web"
    feed.up([ten("web"), group("db", "d0:1")])
    feed.up([group("web", *(f"n{number}:1" for number in range(12))), TargetGroup("db")])
    assert (feed.targets(), feed.holds) == (12, 0)


async def test_targets_that_are_replaced_are_no_loss(make):
    feed, _ = await make("nodes")
    feed.up([ten()])
    feed.up([ten(start=10)])
    assert (feed.targets(), feed.holds) == (10, 0)
    assert feed.groups["nodes"] == ten(start=10)


async def test_a_provider_that_turns_usable_between_two_updates_is_told_of(make):
    feed, changes = await make("one", "two")
    feed.up([group("one", "a:1")])
    assert (feed.state(), changes[-1:]) == ("unknown", [1])
    before = len(changes)
    feed._provider.usable = lambda: True
    feed.up([])
    assert (feed.state(), len(changes)) == ("known", before + 1)


async def test_losing_one_of_many_groups_is_no_mass_loss(make):
    feed, _ = await make()
    groups = [group(f"service-{number}", f"s{number}:1") for number in range(10)]
    feed.up(groups)
    feed.up([*groups[1:], TargetGroup("service-0")])
    assert (feed.targets(), feed.holds) == (9, 0)


async def test_share_1_never_holds(make):
    feed, _ = await make("nodes", share=1.0)
    feed.up([ten()])
    feed.up([group("nodes")])
    assert feed.targets() == 0


async def test_restored_targets_are_guarded_by_the_brake_as_well(make):
    feed, _ = await make("nodes", restored=[ten()])
    feed.up([group("nodes")])
    assert (feed.targets(), feed.held_since is not None) == (10, True)


async def test_a_provider_that_crashes_is_started_again_alone(monkeypatch):
    monkeypatch.setattr("swarm_sd.feed._FIRST_RESTART", 0.01)
    runs = []

    class Crashing(Scripted):
        async def run(self, up, /):
            runs.append(up)
            if len(runs) < 3:
                raise ZeroDivisionError
            up([ten()])
            await asyncio.Event().wait()

    feed = Feed(ScriptedConfig(), MassLoss(), lambda: None)
    feed.config = type("Config", (), {"kind": "scripted", "provider": lambda self: Crashing("nodes")})()
    task = asyncio.create_task(feed.run())
    async with asyncio.timeout(5):
        while feed.state() != "known":
            await asyncio.sleep(0.005)
    task.cancel()
    assert (feed.crashes, feed.targets()) == (2, 10)


def test_the_share_is_of_the_groups_that_the_update_touches():
    standing = {"nodes": ten(), "masters": group("masters", "m:1")}
    assert lost_share(standing, [group("nodes", *(f"n{number}:1" for number in range(4)))]) == 0.6
    assert lost_share({}, [ten()]) == 0.0


ADDRESSES = st.lists(st.sampled_from("abcd"), max_size=5)


@given(st.dictionaries(st.sampled_from("xyz"), ADDRESSES), st.dictionaries(st.sampled_from("xyz"), ADDRESSES))
def test_what_is_lost_is_counted_in_addresses_however_often_each_is_there(before, after):
    standing = {source: group(source, *addresses) for source, addresses in before.items()}
    share = lost_share(standing, [group(source, *addresses) for source, addresses in after.items()])
    old = {address for source in after for address in before.get(source, ())}
    new = {address for addresses in after.values() for address in addresses}
    assert share == (max(0, len(old) - len(new)) / len(old) if old else 0.0)
    assert lost_share(standing, [TargetGroup("other")]) == 0.0
