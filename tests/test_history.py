"""What changed when, and since when each target is there."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scripted import RUNNING, group, job, running, until, world
from tests.strategies import labels

from swarm_sd.brake import MassLoss
from swarm_sd.history import GENERATIONS, SAMPLES, ChangedTarget, History
from swarm_sd.model import Layered, TargetGroup, merged
from swarm_sd.provider import SDConfig
from swarm_sd.store import Store

__all__ = ["world"]
FEED = "a feed"


@pytest.fixture
def history():
    return History()


@pytest.fixture
def clock(monkeypatch):
    """The time, in seconds since the epoch, as the test sets it."""
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def note(history, *pairs, why="poll", of=FEED):
    history.note(of, "scripted", ["j"], why, pairs)


def changed(history, before, after):
    """What the history says of a change of one group."""
    note(history, (before, after))
    return history.generations()[0]


def a(**labels):
    return {"__address__": "a:1", **labels}


def numbers(one):
    return one.added, one.removed, one.changed


# -- what changed -------------------------------------------------------------------------------------


def test_added_removed_and_changed_targets_are_counted_and_named(history):
    before = group("s", a(x="1", y="1"), "b:1", "c:1")
    now = group("s", a(x="2", z="1"), "c:1", "d:1")
    one = changed(history, before, now)
    assert numbers(one) == (1, 1, 1)
    assert one.targets == (
        ChangedTarget("changed", "s", "a:1", ("x", "y", "z")),
        ChangedTarget("added", "s", "d:1"),
        ChangedTarget("removed", "s", "b:1"),
    )
    assert (one.number, one.kind, one.jobs, one.why) == (1, "scripted", ("j",), "poll")


def test_a_label_of_the_group_is_one_of_each_target(history):
    one = changed(history, group("s", a(), a(zone="own"), zone="1"), group("s", a(), a(zone="own"), zone="2"))
    # the second has a zone of its own, which nothing changed
    assert one.targets == (ChangedTarget("changed", "s", "a:1", ("zone",)),)


def test_targets_at_one_address_are_compared_in_their_order(history):
    one = changed(history, group("s", a(n="1"), a(n="2")), group("s", a(n="1"), a(n="3"), a(n="4")))
    assert [(one.what, one.labels) for one in one.targets] == [("changed", ("n",)), ("added", ())]
    one = changed(history, group("s", a(n="1"), a(n="2")), group("s", a(n="1")))
    assert numbers(one) == (0, 1, 0)


def test_layers_are_compared_by_what_they_say(history):
    node = {"node": "n1", "zone": "1"}
    before = group("s", Layered("a:1", (node, {"slot": "1"})))
    assert numbers(changed(history, before, group("s", a(node="n1", zone="1", slot="1")))) == (0, 0, 0)
    one = changed(history, before, group("s", Layered("a:1", ({**node, "zone": "2"}, {"slot": "1"}))))
    assert one.targets[0].labels == ("zone",)


def test_at_most_so_many_targets_are_named_and_all_are_counted(history):
    many = group("s", *(f"h{number}:1" for number in range(SAMPLES + 5)))
    one = changed(history, TargetGroup("s"), many)
    assert (one.added, len(one.targets)) == (SAMPLES + 5, SAMPLES)


def test_the_last_changes_are_kept_the_newest_first(history):
    for number in range(GENERATIONS + 3):
        note(history, (TargetGroup("s"), group("s", f"h{number}:1")))
    kept = history.generations()
    assert [one.number for one in kept] == list(range(GENERATIONS + 3, 3, -1))


def test_what_is_noted_waits_until_it_is_compared(history):
    assert not history.waiting
    note(history, (TargetGroup("s"), group("s", "a:1")))
    assert history.waiting
    history.compare()
    assert not history.waiting


TARGETS = st.lists(
    st.builds(lambda address, own: {**own, "__address__": address}, st.sampled_from("xyz"), labels()),
    max_size=6,
)


@given(TARGETS, labels(), TARGETS, labels())
def test_what_is_counted_leads_from_before_to_after(before, before_labels, after, after_labels):
    history = History()
    old, new = TargetGroup("s", tuple(before), before_labels), TargetGroup("s", tuple(after), after_labels)
    one = changed(history, old, new)
    assert len(before) + one.added - one.removed == len(after)
    told = [each for each in one.targets if each.what == "changed"]
    assert len(told) == one.changed
    assert all(each.labels for each in told)
    same = [merged(before_labels, one) for one in before] == [merged(after_labels, one) for one in after]
    assert not same or numbers(one) == (0, 0, 0)


# -- since when ---------------------------------------------------------------------------------------


def times(history, one, of=FEED):
    return [tuple(history.times(of, one, index)) for index in range(len(one.targets))]


def test_a_target_that_changes_is_there_since_it_came(history, clock):
    first = group("s", a(x="1"), "b:1")
    note(history, (TargetGroup("s"), first))
    clock[0] = 2000.0
    second = group("s", "c:1", "b:1", a(x="2"))
    note(history, (first, second))
    clock[0] = 3000.0
    assert times(history, second) == [(2000, 2000), (1000, 1000), (1000, 2000)]


def test_a_target_whose_labels_only_moved_did_not_change(history, clock):
    first, second = group("s", a(zone="1")), group("s", a(), zone="1")
    note(history, (TargetGroup("s"), first))
    clock[0] = 2000.0
    note(history, (first, second))
    assert times(history, second) == [(1000, 1000)]


def test_a_target_that_went_and_came_back_is_new(history, clock):
    there = group("s", "a:1")
    note(history, (TargetGroup("s"), there))
    note(history, (there, TargetGroup("s")))
    clock[0] = 2000.0
    note(history, (TargetGroup("s"), there))
    assert times(history, there) == [(2000, 2000)]


def test_who_shares_a_source_shares_no_times(history, clock):
    there = group("s", "a:1")
    note(history, (TargetGroup("s"), there), of="one")
    clock[0] = 2000.0
    note(history, (TargetGroup("s"), there), of="other")
    assert times(history, there, of="one") == [(1000, 1000)]
    assert times(history, there, of="other") == [(2000, 2000)]


def test_of_a_group_that_has_changed_meanwhile_it_is_told_that_it_is_new(history, clock):
    note(history, (TargetGroup("s"), group("s", "a:1")))
    clock[0] = 2000.0
    assert times(history, group("s", "a:1", "b:1")) == [(2000, 2000)] * 2
    assert times(history, group("unheard", "a:1")) == [(2000, 2000)]


def test_nothing_is_kept_of_who_has_no_targets_any_more(history):
    there = group("s", "a:1")
    note(history, (TargetGroup("s"), there))
    note(history, (there, TargetGroup("s")))
    history.compare()
    assert history._seen == {}


# -- why, through a manager ---------------------------------------------------------------------------


def reasons(manager):
    """(why, added, removed, changed) of each change, the oldest first."""
    return [(one.why, *numbers(one)) for one in reversed(manager.history.generations())]


async def test_the_first_list_a_later_one_and_a_hint_are_told_apart(world):
    world.update(a=[group("s", "a:1")], b=[])
    async with running(job("j", "a"), job("hinted", "b", interval=3600)) as manager:
        assert reasons(manager) == [("start", 1, 0, 0)]
        world["a"] = [group("s", "a:1", "a:2")]
        await until(lambda: len(reasons(manager)) == 2)
        world["b"] = [group("s", "b:1")]
        RUNNING["b"].hint()
        await until(lambda: len(reasons(manager)) == 3)
        assert reasons(manager)[1:] == [("poll", 1, 0, 0), ("event", 1, 0, 0)]
        newest = manager.history.generations()[0]
        assert (newest.kind, newest.jobs) == ("scripted", ("hinted",))


async def test_a_change_belongs_to_every_job_that_has_it(world):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a", "a"), job("k", "a")) as manager:
        assert manager.history.generations()[0].jobs == ("j", "k")
        assert len(manager.history.generations()) == 1


async def test_the_manager_compares_by_itself(world, monkeypatch):
    monkeypatch.setattr("swarm_sd.manager.SAVE_TICK", 0.01)
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a")) as manager:
        await until(lambda: not manager.history.waiting)


async def test_what_was_restored_from_disk_is_told_so(world, tmp_path, monkeypatch):
    monkeypatch.setattr("swarm_sd.manager.SAVE_TICK", 0.01)
    store = Store(tmp_path, max_age=60)
    world["a"] = [group("s", "a:1", "a:2")]
    async with running(job("j", "a"), store=store):
        await until(lambda: list(tmp_path.glob("*.json")))
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a"), store=store) as manager:
        await until(lambda: len(reasons(manager)) == 2)
        assert reasons(manager) == [("restored", 2, 0, 0), ("start", 0, 1, 0)]


async def test_a_reload_tells_what_it_took_away(world):
    world.update(a=[group("s", "a:1")], b=[group("s", "b:1", "b:2")])
    async with running(job("j", "a"), job("k", "b")) as manager:
        await manager.apply([job("j", "a")])
        assert reasons(manager)[2:] == [("reload", 0, 0, 0), ("reload", 0, 2, 0)]
        assert manager.history.generations()[0].jobs == ("k",)
        assert manager.history.generations()[1].jobs == ("j",)
        assert len(manager.history._seen) == 1


async def test_a_reload_that_only_asks_in_another_way_loses_and_adds_nothing(world):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a")) as manager:
        (old,) = manager.feeds("j")
        since = manager.history.times(old, old.groups["s"], 0).first_seen
        await manager.apply([job("j", "a", token="new")])
        await until(lambda: manager.status().entries[0].state == "known")
        (new,) = manager.feeds("j")
        assert new is not old
        assert reasons(manager)[1:] == [("reload", 0, 0, 0)]
        await asyncio.sleep(0.02)
        assert manager.history.times(new, new.groups["s"], 0).first_seen == since
        assert len(manager.history._seen) == 1


async def test_both_know_since_when_where_one_still_asks_in_the_old_way(world):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a")) as manager:
        since = manager.history.times(*_only(manager, "j"), 0)
        await manager.apply([job("j", "a"), job("k", "a", token="new")])
        assert manager.history.times(*_only(manager, "j"), 0) == since
        assert manager.history.times(*_only(manager, "k"), 0) == since


def _only(manager, name):
    (feed,) = manager.feeds(name)
    return feed, feed.groups["s"]


async def test_a_mass_loss_that_lasted_is_told_so(world):
    world["a"] = [group("s", *(f"a:{number}" for number in range(4)))]
    async with running(job("j", "a"), brake=MassLoss(0.5, 0.05)) as manager:
        world["a"] = [group("s", "a:1")]
        await until(lambda: len(reasons(manager)) == 2)
        assert reasons(manager)[1] == ("mass loss", 0, 3, 0)


async def test_a_mass_loss_that_was_a_slip_is_no_change(world):
    world["a"] = [group("s", *(f"a:{number}" for number in range(4)))]
    async with running(job("j", "a"), brake=MassLoss(0.5, 60)) as manager:
        full, world["a"] = world["a"], []
        await until(lambda: manager.status().entries[0].held)
        world["a"] = full
        await until(lambda: not manager.status().entries[0].held)
        assert len(reasons(manager)) == 1


class SilentProvider:
    """One of somebody who has never heard of prompts."""

    def sources(self):
        return frozenset("s")

    async def run(self, up, /):
        up([group("s", "a:1")])
        await asyncio.Event().wait()


class SilentConfig(SDConfig, frozen=True, kw_only=True):
    kind = "silent"

    def provider(self):
        return SilentProvider()


async def test_of_a_provider_that_cannot_tell_why_no_reason_is_told():
    async with running(job("j", SilentConfig())) as manager:
        assert reasons(manager) == [("", 1, 0, 0)]
