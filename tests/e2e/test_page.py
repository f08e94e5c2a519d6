"""The page in a real browser, on a real ``swarm-sd serve`` that asks simulated swarms."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.swarm import Swarm as ModeSwarm

from .programs import SwarmSD, becomes, needs
from .swarm import SECOND, Swarm, job

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

NODES = 60
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
expect.set_options(timeout=15_000)


@dataclass
class Served:
    """What is looked at: the program, and the swarms that it asks."""

    sd: SwarmSD
    classic: Swarm
    mode: ModeSwarm
    browser: Browser
    config: str

    async def reload(self, config: str) -> int:
        """Writes a configuration and has it read; the status of the answer."""
        self.sd.write(config)
        return (await self.sd.post("/-/reload")).status


def swarm_mode() -> ModeSwarm:
    """Two nodes; a service to keep, one that a rule drops, one with hostile labels, one that does not run."""
    swarm = ModeSwarm(["mgr1"], ["wrk1"])
    swarm.create_network("net-a")
    swarm.create_service("web", replicas=2, networks=["net-a"], labels={"prometheus.port": "9100"})
    swarm.create_service("batch", replicas=1, networks=["net-a"], labels={"note": HOSTILE})
    swarm.create_service("pending", networks=["net-a"], constraints=["node.labels.tier==nowhere"])
    for number in range(10):  # more than a narrow screen has room for
        swarm.create_service(f"service-with-a-name-{number}", networks=["net-a"])
    return swarm.settle()


def tasks(daemon: Daemon, name: str, role: str, *rules: str) -> str:
    """A job on a cluster in swarm mode."""
    entry = json.dumps([{"host": daemon.url, "role": role, "refresh_interval": "1s", "port": 9100}])
    return (
        f"- job_name: {name}\n  dockerswarm_sd_configs: {entry}\n  relabel_configs: [{', '.join(rules)}]\n"
        if rules
        else f"- job_name: {name}\n  dockerswarm_sd_configs: {entry}\n"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    chromium = needs("chromium")
    async with AsyncExitStack() as stack:
        classic = await stack.enter_async_context(Swarm(NODES))
        mode = swarm_mode()
        daemon = await stack.enter_async_context(Daemon.on(mode, "mgr1"))
        config = SECOND + job("nodes", classic.entry())
        config += tasks(
            daemon, "tasks", "tasks",
            "{source_labels: [__meta_dockerswarm_service_name], target_label: service}",
            "{source_labels: [service], regex: batch, action: drop}",
        ) + tasks(daemon, "endpoints", "endpoints")  # fmt: skip
        sd = SwarmSD(tmp_path_factory.mktemp("page"), config)
        try:
            await sd.start()
            await becomes(lambda: sd.addresses("/sd/nodes"), classic.targets())
            flags = ["--no-sandbox"] if os.geteuid() == 0 else []
            playwright = await stack.enter_async_context(async_playwright())
            browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
            stack.push_async_callback(browser.close)
            yield Served(sd, classic, mode, browser, config)
        finally:
            print(sd.log())
            await sd.stop()


@dataclass
class Seen:
    """A browser on the page."""

    page: Page
    url: str
    troubles: list[str]

    async def open(self, path: str) -> None:
        """Goes there, and waits until the script is at work."""
        await self.page.goto(self.url + path)
        await expect(self.page.locator("#live-word")).to_have_text(re.compile("live|paused"))


async def _seen(served: Served, context: BrowserContext) -> Seen:
    page, troubles = await context.new_page(), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    return Seen(page, served.sd.url, troubles)


@pytest_asyncio.fixture(loop_scope="module")
async def seen(served: Served) -> AsyncIterator[Seen]:
    context = await served.browser.new_context(viewport={"width": 1280, "height": 900})
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    found = await _seen(served, context)
    yield found
    await context.close()
    # a page that is not there is an error in the browser's eyes
    assert [one for one in found.troubles if "404" not in one] == []


async def test_search_while_typing_narrows_the_targets_and_stays_in_the_url(seen: Seen) -> None:
    page = seen.page
    await seen.open("/targets?job=nodes")
    await expect(page.locator("main tbody tr")).to_have_count(50)
    await page.locator("#search").press_sequentially("role=master", delay=20)
    await expect(page.locator("main tbody tr")).to_have_count(2)
    assert page.url.endswith("/targets?job=nodes&search=role%3Dmaster")
    # typing goes on where it was
    await page.keyboard.type(" nothing-has-this")
    await expect(page.locator(".empty-title")).to_have_text("No target matches")
    await expect(page.locator("#search")).to_have_value("role=master nothing-has-this")
    await expect(page.locator("#search")).to_be_focused()
    await page.reload()
    await expect(page.locator("#search")).to_have_value("role=master nothing-has-this")


async def test_filters_by_state_and_reason(seen: Seen) -> None:
    page = seen.page
    await seen.open("/targets?job=tasks")
    await page.locator("#state").select_option("dropped")
    await expect(page.locator("main tbody tr")).to_have_count(1)
    await expect(page.locator("main tbody")).to_contain_text("relabel_rule_2")
    await page.locator("#reason").select_option("relabel_rule_2")
    await expect(page.locator(".note")).to_contain_text("Rule 2")
    assert "state=dropped&reason=relabel_rule_2" in page.url


async def test_pages_by_link_and_by_key(served: Served, seen: Seen) -> None:
    page, total = seen.page, len(served.classic.targets())
    await seen.open("/targets?job=nodes")
    counts = page.locator(".paging p").first
    await expect(counts).to_have_text(f"1–50 of {total}")
    await page.get_by_role("link", name="Next").first.click()
    await expect(counts).to_have_text(f"51–{total} of {total}")
    assert "offset=50" in page.url
    await expect(page.locator("#live-word")).to_have_text("live")
    await page.keyboard.press("p")
    await expect(counts).to_have_text(f"1–50 of {total}")


async def test_a_dropped_target_tells_the_rule_its_place_and_the_value(seen: Seen) -> None:
    page = seen.page
    await seen.open("/targets?job=tasks&state=dropped")
    await page.locator("[data-row]").first.click()
    await expect(page.locator(".verdict")).to_contain_text(
        re.compile(r"dropped Rule 2 \(.*\.yml:\d+:\d+\) dropped it.* service='batch' matches 'batch'")
    )
    steps = page.locator("ol.steps > li")
    await expect(steps).to_have_count(2)
    await expect(steps.first.locator("ins")).to_have_text("batch")
    await steps.last.locator("summary").click()
    await expect(steps.last).to_contain_text("source_labels:service")
    # what a service's label holds is text
    await expect(page.locator("main")).to_contain_text(HOSTILE)
    assert await page.title() != "taken"


async def test_what_has_no_target_says_why(seen: Seen) -> None:
    page = seen.page
    await seen.open("/passed-over?job=endpoints")
    rows = page.locator("table.passed tbody tr")
    await expect(rows.filter(has_text="batch")).to_contain_text("not_labelled")
    await expect(rows.filter(has_text="pending")).to_contain_text("not_running")
    await page.locator("#search").fill("pending")
    await expect(rows).to_have_count(1)


async def test_the_matrix_shows_who_runs_where(seen: Seen) -> None:
    page = seen.page
    await seen.open("/cluster/matrix?job=tasks")
    await expect(page.locator("tr", has_text="mgr1")).to_contain_text("scraped")
    await page.locator("#search").fill("bat")
    await expect(page.locator(".matrix thead th")).to_have_text(["Node", "batch"])
    await expect(page.locator(".matrix tbody")).to_contain_text("dropped")


async def test_a_change_is_shown_live_and_what_the_reader_has_in_hand_stays(
    served: Served, seen: Seen
) -> None:
    page = seen.page
    await seen.open("/targets?job=nodes")
    chip = page.locator(".chips a").first
    await expect(chip).to_have_text(f"All {len(served.classic.targets())}")
    details = page.locator("details").nth(20)
    await details.locator("summary").click()
    await page.evaluate("scrollTo(0, 1200)")
    await page.locator("#search").evaluate("one => { one.focus({preventScroll: true}); one.value = 'é'; }")
    engine = await served.classic.join()
    await expect(chip).to_have_text(f"All {len(served.classic.targets())}")
    assert await details.get_attribute("open") is not None
    assert await page.evaluate("scrollY") == 1200
    await expect(page.locator("#search")).to_be_focused()
    await expect(page.locator("#search")).to_have_value("é")
    # and back: the focus is on a row now
    await page.locator("#search").evaluate("one => { one.value = ''; one.blur(); }")
    await details.locator("summary").focus()
    address = await served.classic.leave()
    await expect(chip).to_have_text(f"All {len(served.classic.targets())}")
    await expect(details.locator("summary")).to_be_focused()
    assert address.startswith(engine.address.rpartition(":")[0])


async def test_a_pause_holds_changes_back_until_it_ends(served: Served, seen: Seen) -> None:
    page = seen.page
    await seen.open("/")
    figure = page.locator(".figures dd").first
    before = int(await figure.inner_text())
    await page.keyboard.press("l")
    await expect(page.locator("#live-word")).to_have_text("paused")
    await served.classic.join()
    await expect(page.locator("#live-word")).to_have_text("paused, changed")
    assert int(await figure.inner_text()) == before
    await page.get_by_role("button", name="Resume").click()
    await expect(figure).to_have_text(str(before + 1))
    await served.classic.leave()
    await expect(figure).to_have_text(str(before))


async def test_history_tells_what_was_added_and_why(served: Served, seen: Seen) -> None:
    page = seen.page
    await seen.open("/history?job=nodes")
    engine = await served.classic.join()
    newest = page.locator("main tbody tr").first
    await expect(newest).to_contain_text("+1")
    await expect(newest).to_contain_text(re.compile("poll|event"))
    await newest.locator("[data-row]").click()
    address = f"{engine.address.rpartition(':')[0]}:{served.classic.port}"
    await page.get_by_role("link", name=address).click()
    await expect(page.locator(".verdict")).to_contain_text("scraped")
    await served.classic.leave()
    # its view is of a target that is gone now, and leads on
    await expect(page.locator("h1")).to_contain_text("There is no target")
    await expect(page.get_by_role("link", name="What changed in nodes")).to_be_visible()


async def test_a_reload_that_is_refused_is_on_top_until_one_is_taken(served: Served, seen: Seen) -> None:
    page = seen.page
    await seen.open("/history")
    assert await served.reload(served.config.replace("masters:", "mastres:")) == 500
    banner = page.locator(".banner").first
    await expect(banner).to_contain_text("did you mean 'masters'?")
    await expect(banner).to_contain_text(re.compile(r"\.yml:\d+:\d+: "))
    await expect(page.locator("#said")).to_contain_text("refused")
    assert await served.reload(served.config) == 200
    await expect(page.locator(".banner")).to_have_count(0)
    await expect(page.locator("#said")).to_have_text("All is well again")


async def test_managers_that_are_gone_are_told_in_plain_words(served: Served, seen: Seen) -> None:
    page = seen.page
    await seen.open("/cluster?job=nodes")
    await expect(page.locator("main tbody tr").first).to_contain_text("active")
    await served.classic.masters_die()
    try:
        await expect(page.locator(".banner").first).to_contain_text("Job nodes, entry 0: not confirmed")
        await expect(page.locator(".card")).to_contain_text("stale is better than wrong")
        await expect(page.locator("main tbody tr").first).to_contain_text("connection refused")
    finally:
        await served.classic.masters_return()
    # the other manager may not be asked again for some time, and that is told, too
    await expect(page.locator(".banner.bad")).to_have_count(0)


async def test_the_configuration_has_flags_and_who_polls(served: Served, seen: Seen) -> None:
    await served.sd.get("/sd/nodes", {"User-Agent": "a collector"})
    await seen.open("/configuration")
    await expect(seen.page.locator("main")).to_contain_text("a collector")
    await expect(seen.page.locator("main")).to_contain_text("--web.listen-address")
    await expect(seen.page.locator("pre")).to_contain_text("dockerswarm_sd_configs")


async def test_colours_follow_the_system_unless_chosen_and_the_choice_stays(seen: Seen) -> None:
    page = seen.page

    async def dark() -> bool:
        colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) < 200

    await seen.open("/")
    assert not await dark()
    await page.emulate_media(color_scheme="dark")
    assert await dark()
    await page.locator("#theme").select_option("light")
    assert not await dark()
    await page.reload()
    assert not await dark()
    await page.emulate_media(color_scheme="light")
    await page.locator("#theme").select_option("dark")
    assert await dark()


async def test_everything_is_reached_by_keys(seen: Seen) -> None:
    page = seen.page
    await seen.open("/targets?job=nodes")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await expect(page.locator("[data-row]").nth(1)).to_be_focused()
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    await expect(page.locator(".verdict")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.locator("#help")).to_be_visible()
    await page.locator("#keys").uncheck()
    await page.keyboard.press("Escape")
    await expect(page.locator("#help")).not_to_be_visible()
    await page.keyboard.press("?")  # the keys are off now
    await expect(page.locator("#help")).not_to_be_visible()


async def test_a_copy_button_copies(seen: Seen) -> None:
    page = seen.page
    await seen.open("/targets?job=tasks")
    await page.locator("[data-row]").first.click()
    await page.get_by_role("button", name="Copy the address").click()
    await expect(page.locator("#said")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") in await page.title()


async def test_without_a_script_search_pages_and_labels_work(served: Served) -> None:
    context = await served.browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    try:
        await page.goto(f"{served.sd.url}/targets?job=nodes")
        await page.get_by_role("link", name="Next").first.click()
        await page.locator("details summary").first.click()
        await expect(page.locator("details dl").first).to_be_visible()
        await page.locator("#search").fill("role=master")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("main tbody tr")).to_have_count(2)
        await expect(page.locator("#controls")).not_to_be_visible()
    finally:
        await context.close()


# -- for everybody ------------------------------------------------------------------------------------


def views() -> list[str]:
    """One of each kind."""
    return [
        "/",
        "/targets",
        "/targets?job=tasks",
        "/targets?job=tasks&search=nothing-has-this",
        "why",
        "/targets?job=nope",
        "/passed-over",
        "/passed-over?job=endpoints",
        "/cluster",
        "/cluster/matrix?job=tasks",
        "/history",
        "/history?number=1",
        "/configuration",
    ]


_AXE = "options => axe.run(document, options)"
_RULES = {"resultTypes": ["violations"]}
_COLOURS = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}


async def _violations(page: Page, options: dict[str, Any]) -> list[str]:
    found = await page.evaluate(_AXE, options)
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("view", views())
async def test_axe_finds_nothing_serious_in_light_and_dark_and_nothing_is_cut_off(
    seen: Seen, view: str
) -> None:
    page = seen.page
    if view == "why":
        await seen.open("/targets?job=tasks&state=dropped")
        view = str(await page.locator("[data-row]").first.get_attribute("href"))
    await seen.open(view)
    await page.keyboard.press("l")  # nothing is put in another's place meanwhile
    await page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    await page.evaluate(AXE_SCRIPT)
    assert await _violations(page, _RULES) == []
    await page.emulate_media(color_scheme="dark")
    for width in (1280, 390, 360):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await _violations(page, _COLOURS) == []
