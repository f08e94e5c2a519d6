"""What a running manager tells of its targets, beyond its status."""

import asyncio
import threading

import pytest
from tests.scripted import DEFAULTS, OTHERS, UNNAMED, WORLD, group, job, rule, running, until, world

from swarm_sd.insight import Insight, Spot
from swarm_sd.inventory import JobInventory, Place, Query
from swarm_sd.job import Job
from swarm_sd.provider import DiscoveryError, PassedOver

__all__ = ["world"]
NODE, SERVICE = "__meta_dockerswarm_node_hostname", "__meta_dockerswarm_service_name"
DROP_B = rule("drop", source_labels=("__address__",), regex="b:.*", where="a.yml:7:3")


def task(address, node="", service="", **labels):
    return {
        "__address__": address,
        **({NODE: node} if node else {}),
        **({SERVICE: service} if service else {}),
        **labels,
    }


def other(name, reason="not_labelled", **more):
    return PassedOver(reason, "task", f"id-{name}", name, **more)


async def find(insight, name, text="", **more):
    found = await insight.targets(name, Query.of(text, **more), offset=0, limit=100)
    return found.total, [row.place.address for row in found.rows]


# -- counts -------------------------------------------------------------------------------------------


async def test_every_job_is_counted_in_the_order_of_the_configuration(world):
    world.update(z=[group("s", "a:1", "b:1")], a=DiscoveryError("refused", "no"))
    OTHERS["z"], UNNAMED["z"] = [other("t1"), other("t2", "not_running")], {"odd_object": 3}
    async with running(job("z", "z", rules=[DROP_B]), job("a", "a")) as manager:
        insight = Insight(manager)
        assert insight.jobs() == ("z", "a")
        one, unknown = await insight.counts()
        assert (one.job, one.known, one.states) == ("z", True, {"scraped": 1, "dropped": 1, "refused": 0})
        assert one.reasons == {"relabel_rule_1": 1}
        assert one.passed_over == {"not_labelled": 1, "not_running": 1, "odd_object": 3}
        assert (unknown.job, unknown.known, sum(unknown.states.values())) == ("a", False, 0)
        assert insight.counted == [one, unknown]


async def test_entries_with_equal_configurations_count_once(world):
    world["a"] = [group("s", "a:1")]
    OTHERS["a"] = [other("t1")]
    async with running(job("j", "a", "a")) as manager:
        insight = Insight(manager)
        (one,) = await insight.counts()
        assert (one.states["scraped"], one.passed_over) == (1, {"not_labelled": 1})
        ((row,), total) = (await insight.targets("j", Query(), offset=0, limit=9))[::-1]
        assert (total, row.entry, row.place) == (1, 0, Place("s", "a:1", 0))
        assert await insight.spots("j") == [Spot("", "", 1, 0, 1, {"not_labelled": 1})]


async def test_those_who_ask_while_it_is_counted_share_the_answer(world, monkeypatch):
    world["a"] = [group("s", "a:1")]
    counted = []
    counts = JobInventory.counts
    monkeypatch.setattr(JobInventory, "counts", lambda *of: counted.append(1) or counts(*of))
    async with running(job("j", "a")) as manager:
        insight = Insight(manager)
        answers = await asyncio.gather(*(insight.counts() for _ in range(5)))
        assert len(counted) == 1
        assert all(answer is answers[0] for answer in answers)
        await insight.counts()
        assert len(counted) == 2


async def test_who_cannot_wait_gets_the_numbers_of_the_last_time(world, monkeypatch):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a")) as manager:
        insight = Insight(manager)
        before = await insight.counts_within(10)
        go_on, counts = threading.Event(), JobInventory.counts
        monkeypatch.setattr(JobInventory, "counts", lambda *of: go_on.wait(10) and counts(*of))
        world["a"] = [group("s", "a:1", "a:2")]
        await until(lambda: manager.status().entries[0].targets == 2)
        assert await insight.counts_within(0.01) is before
        go_on.set()
        assert (await insight.counts())[0].states["scraped"] == 2


async def test_what_was_made_of_a_job_that_is_gone_is_not_kept(world):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a"), job("k", "a")) as manager:
        insight = Insight(manager)
        await insight.counts()
        await manager.apply([job("j", "a")])
        assert [one.job for one in await insight.counts()] == ["j"]
        assert set(insight._inventories) == {"j"}


# -- targets ------------------------------------------------------------------------------------------


async def test_targets_are_found_with_their_times(world):
    world["a"] = [group("s", "a:1", "b:1")]
    async with running(job("j", "a", rules=[DROP_B])) as manager:
        insight = Insight(manager)
        assert await find(insight, "j") == (2, ["a:1", "b:1"])
        assert await find(insight, "j", state="dropped") == (1, ["b:1"])
        world["a"] = [group("s", task("a:1", zone="1"), "b:1")]
        await until(lambda: len(manager.history.generations()) == 2)
        rows = (await insight.targets("j", Query(), offset=0, limit=5)).rows
        assert rows[0].first_seen == rows[1].first_seen == rows[1].last_changed < rows[0].last_changed


async def test_a_page_may_have_no_rows(world):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a")) as manager:
        insight = Insight(manager)
        assert await insight.targets("j", Query(), offset=0, limit=0) == (1, [])
        assert await insight.targets("j", Query(), offset=5, limit=5) == (1, [])


async def test_of_a_job_that_is_not_there_nothing_can_be_told(world):
    async with running() as manager:
        insight = Insight(manager)
        for ask in (
            insight.targets("j", Query(), offset=0, limit=1),
            insight.explanation("j", Place("s", "a:1", 0)),
            insight.passed_over("j", Query(), offset=0, limit=1),
            insight.spots("j"),
        ):
            with pytest.raises(KeyError):
                await ask
        assert await insight.counts() == []


# -- one target ---------------------------------------------------------------------------------------


async def test_a_target_is_explained_by_its_place(world):
    world.update(
        a=[group("s", "a:1", task("a:1", n="2"), "b:1")],
        other=[group("s", task("a:1", n="3"))],
    )
    async with running(job("j", "a", "other", rules=[DROP_B])) as manager:
        insight = Insight(manager)
        for row in (await insight.targets("j", Query(), offset=0, limit=9)).rows:
            again, explanation = await insight.explanation("j", row.place)
            assert again == row
            assert (explanation.state, explanation.discovered) == (row.state, row.discovered)
        third, _ = await insight.explanation("j", Place("s", "a:1", 2))
        assert (third.entry, third.discovered["n"]) == (1, "3")
        _, dropped = await insight.explanation("j", Place("s", "b:1", 0))
        assert dropped.verdict == "Rule 1 (a.yml:7:3) dropped it: __address__='b:1' matches 'b:.*'."


async def test_a_target_that_is_gone_has_no_explanation(world):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a")) as manager:
        insight = Insight(manager)
        assert await insight.explanation("j", Place("s", "a:1", 0))
        for place in (Place("s", "a:1", 1), Place("s", "b:1", 0), Place("t", "a:1", 0)):
            assert await insight.explanation("j", place) is None
        world["a"] = []
        await until(lambda: not manager.groups("j"))
        assert await insight.explanation("j", Place("s", "a:1", 0)) is None


async def test_after_a_reload_a_rule_is_where_it_stands_now(world):
    world["a"] = [group("s", "b:1")]
    async with running(job("j", "a", rules=[DROP_B])) as manager:
        insight = Insight(manager)
        await insight.counts()
        kept = insight._inventories["j"]
        moved = rule("drop", source_labels=("__address__",), regex="b:.*", where="a.yml:99:3")
        await manager.apply([job("j", "a", rules=[moved])])
        _, explanation = await insight.explanation("j", Place("s", "b:1", 0))
        assert explanation.steps[0].where == "a.yml:99:3"
        assert "(a.yml:99:3)" in explanation.verdict
        assert insight._inventories["j"] is kept


async def test_after_a_reload_other_rules_and_defaults_hold(world):
    world["a"] = [group("s", "a:1", "b:1")]
    async with running(job("j", "a", rules=[DROP_B])) as manager:
        insight = Insight(manager)
        assert (await insight.counts())[0].states["dropped"] == 1
        await manager.apply([job("j", "a")])
        assert (await insight.counts())[0].states["dropped"] == 0
        wrong = {**DEFAULTS, "__scrape_timeout__": "2m"}
        await manager.apply([Job("j", job("j", "a").sd_configs, (), wrong)])
        assert (await insight.counts())[0].reasons == {"bad_interval": 2}


# -- what has no target -------------------------------------------------------------------------------


async def test_what_has_no_target_is_named_counted_and_searched(world):
    world["a"] = []
    OTHERS["a"] = [
        other("web.1", service="web", node="wrk1"),
        other("web.2", "not_running", service="web", node="wrk2", detail="it is Failed"),
        other("api.1", service="api", node="wrk1"),
    ]
    UNNAMED["a"] = {"odd_object": 2, "not_labelled": 1}
    async with running(job("j", "a")) as manager:
        insight = Insight(manager)

        async def names(text="", reason="", offset=0, limit=9):
            found = await insight.passed_over("j", Query.of(text, reason=reason), offset=offset, limit=limit)
            assert found.reasons == {"not_labelled": 3, "not_running": 1, "odd_object": 2}
            assert found.unnamed == {"not_labelled": 1, "odd_object": 2}
            return found.total, [one.name for one in found.rows]

        assert await names() == (3, ["web.1", "web.2", "api.1"])
        assert await names(limit=1, offset=1) == (3, ["web.2"])
        assert await names("WEB wrk2") == (1, ["web.2"])
        assert await names("failed") == (1, ["web.2"])
        assert await names(reason="not_labelled") == (2, ["web.1", "api.1"])
        assert await names("web", "not_labelled") == (1, ["web.1"])
        assert await names("nowhere") == (0, [])


async def test_places_are_nodes_and_services_with_all_that_is_there(world):
    world["a"] = [
        group("s", task("a:1", "wrk1", "web"), task("b:1", "wrk1", "web"), task("a:2", "wrk2", "web"))
    ]
    OTHERS["a"] = [
        other("web.3", service="web", node="wrk1"),
        other("api.1", "not_running", service="api", node="wrk1"),
    ]
    async with running(job("j", "a", rules=[DROP_B])) as manager:
        assert await Insight(manager).spots("j") == [
            Spot("wrk1", "api", 0, 0, 1, {"not_running": 1}),
            Spot("wrk1", "web", 1, 1, 1, {"not_labelled": 1}),
            Spot("wrk2", "web", 1, 0, 0, {}),
        ]


async def test_changes_are_told_the_newest_first(world):
    world["a"] = [group("s", "a:1")]
    async with running(job("j", "a")) as manager:
        WORLD["a"] = []
        await until(lambda: not manager.groups("j"))
        assert [(one.added, one.removed) for one in await Insight(manager).generations()] == [(0, 1), (1, 0)]
