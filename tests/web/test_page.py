"""The page without a browser: every view, what it escapes, what it refuses, how large it may get."""

import asyncio
import gzip
import html
import re
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import urljoin, urlsplit

import pytest
from tests.web.world import World, serving, target

from swarm_sd.insight import Spot
from swarm_sd.provider import HostStatus
from swarm_sd.web.about import LastReload
from swarm_sd.web.page import words
from swarm_sd.web.page.links import Asked, Paging, link
from swarm_sd.web.page.matrix import NODES, SERVICES, matrix

VIEWS = {
    "/": "Overview",
    "/targets": "Targets of shop",
    "/targets?job=shop&search=beta": "Targets of shop",
    "/targets/why?job=shop&source=s&address=10.0.0.3:80": "Why 10.0.0.3:80",
    "/passed-over": "Without a target: shop",
    "/cluster": "Cluster",
    "/cluster/matrix": "Nodes and services of shop",
    "/history": "History",
    "/history?number=1": "History",
    "/configuration": "Configuration",
}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
FILES = files("swarm_sd.web.page")


@pytest.fixture
async def served():
    async with serving() as running:
        yield running


async def page(served, path, status=200, **more):
    async with asyncio.timeout(20), served.ask(path, **more) as answer:
        text = await answer.text()
        assert answer.status == status, text
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        return text


def words_of(text):
    """The text of a page, without markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


# -- every view -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VIEWS)
async def test_every_view_is_a_page_with_a_title_of_its_own(served, path):
    text = await page(served, path)
    assert f"<title>{VIEWS[path]} · swarm-sd</title>" in text
    assert text.count("<h1>") == text.count("<main") == 1


class _Outline(HTMLParser):
    """Every start tag, and whether each end tag closes what was opened last."""

    VOID = frozenset({"meta", "link", "input", "img", "br", "hr"})

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.wrong = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


def outline(text):
    found = _Outline()
    found.feed(text)
    return found


@pytest.mark.parametrize("path", VIEWS)
async def test_the_markup_is_whole_and_no_id_is_there_twice(served, path):
    found = outline(await page(served, path))
    assert (found.wrong, found.open) == ([], [])
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert sorted(ids) == sorted(set(ids))
    assert all("scope" in attrs for tag, attrs in found.tags if tag == "th")
    assert [tag for tag, _ in found.tags].count("table") == [tag for tag, _ in found.tags].count("caption")


async def test_every_link_of_every_view_leads_somewhere(served):
    """Those to files, lists and JSON twins, too, and those of the views that are found on the way."""
    seen, waiting = set(), list(VIEWS)
    while waiting:
        path = waiting.pop()
        if path in seen or path.startswith("/metrics"):  # the library's collectors read /proc
            continue
        seen.add(path)
        async with served.ask(path) as answer:
            text = await answer.text()
            assert answer.status == 200, (path, text[:300])
        if "text/html" in answer.headers["Content-Type"]:
            of_page = (attrs for _, attrs in outline(text).tags)
            found = [one for attrs in of_page for one in (attrs.get("href"), attrs.get("src")) if one]
            waiting += [urljoin(path, one.partition("#")[0]) for one in found if not urlsplit(one).netloc]
    assert {urlsplit(path).path for path in seen} > {"/targets/why", "/api/v1/matrix", "/sd/shop/0", "/sd"}


# -- what is shown --------------------------------------------------------------------------------------


async def test_the_overview_counts_and_tells_what_is_wrong(served):
    text = words_of(await page(served, "/"))
    assert "Scraped 3 Dropped by rules 1 Refused 1 Without a target 4 Managers answering 1 of 2" in text
    assert "Job shop, entry 0: 1 manager of 2 not answering m2: refused." in text


async def test_a_target_has_where_it_comes_from_and_its_labels(served):
    text = words_of(await page(served, "/targets?job=shop&search=10.0.0.2"))
    assert "10.0.0.2:80 scraped on beta" in text
    assert "service= shop" in text
    assert "1–1 of 1" in text


async def test_why_tells_rule_place_and_value(served):
    text = words_of(await page(served, "/targets/why?job=shop&source=s&address=10.0.0.3:80"))
    assert "Rule 1 (x.yml:1:5) dropped it" in text
    assert "__meta_dockerswarm_service_name='quiet' matches 'quiet'" in text


async def test_why_tells_before_and_after_of_each_rule_that_changed_something(served):
    text = await page(served, "/targets/why?job=shop&source=s&address=10.0.0.1:80&nth=1")
    assert re.search(r"<code>service</code></th><td>.*none.*</td><td><ins>shop</ins>", text)


async def test_what_is_refused_says_why(served):
    text = words_of(await page(served, "/targets?job=shop&state=refused"))
    assert "10.0.0.4:80/x refused not_an_address" in text
    assert "is not a valid hostname" in text


async def test_what_has_no_target_is_named_with_its_reason_and_what_to_do(served):
    text = words_of(await page(served, "/passed-over?job=shop&reason=no_shared_network"))
    assert "db.1" in text
    assert "shop.3" not in text
    assert "attach its service to one" in text
    assert "Of 2 only the number is known." in text


async def test_the_matrix_tells_what_is_not_running(served):
    text = words_of(await page(served, "/cluster/matrix?job=shop&service=shop"))
    assert "beta ✓ 1 scraped ○ 1 not running" in text


async def test_managers_have_latency_and_errors(served):
    text = words_of(await page(served, "/cluster"))
    assert "tcp://m1:2375 up active 250 ms" in text
    assert "tcp://m2:2375 down" in text
    assert "refused 3 m2: refused" in text


async def test_history_tells_what_led_to_a_change(served):
    assert "first answer +5 added" in words_of(await page(served, "/history"))
    assert "10.0.0.4:80/x" in await page(served, "/history?number=1")
    assert "This change is not kept" in await page(served, "/history?number=99")


async def test_a_refused_configuration_is_on_top_of_every_view(served):
    served.world.reload = LastReload(successful=False, at=20.0, error="x.yml:3:7: unknown field 'hsots'")
    for path in VIEWS:
        text = await page(served, path)
        assert "x.yml:3:7: unknown field &#39;hsots&#39;" in text.partition("<h2")[0], path


async def test_clients_flags_and_configuration_are_shown(served):
    served.world.config = "password: <secret>\n"
    async with served.ask("/sd/shop", headers={"User-Agent": "Prometheus/3.14"}):
        pass
    text = words_of(await page(served, "/configuration"))
    assert "Prometheus/3.14 /sd/shop" in text
    assert "--config.file prometheus.yml" in text
    assert "password: <secret>" in text


# -- while nothing is known -----------------------------------------------------------------------------


async def test_a_job_that_was_not_heard_says_so_and_that_its_list_is_kept():
    world = World()
    world.fails("m1: refused")
    async with serving(world) as served:
        text = words_of(await page(served, "/targets"))
        assert "nothing was heard yet" in text
        assert "answers 503" in text
        assert "not confirmed" not in text
        for path in ("/", "/passed-over", "/cluster", "/cluster/matrix", "/history", "/configuration"):
            await page(served, path)


async def test_without_any_job_every_view_says_what_to_do():
    async with serving(World(), *[]) as served:
        await served.manager.apply([])
        for path in ("/", "/targets", "/passed-over", "/cluster", "/history", "/configuration"):
            text = await page(served, path)
            assert 'href="/configuration"' in text
        await page(served, "/cluster/matrix", status=404)


async def test_with_several_jobs_the_targets_that_match_are_counted_in_each():
    world = World()
    async with serving(world, world.job("shop"), world.job("other")) as served:
        text = words_of(await page(served, "/targets?search=10.0.0.2"))
        assert "shop 1 3 1 1 4 other 1 3 1 1 4" in text
        assert "shop" in words_of(await page(served, "/passed-over"))
        # both have one provider, so one card
        assert (await page(served, "/cluster")).count('class="card"') == 1


# -- what people and strangers put in -------------------------------------------------------------------


async def test_hostile_values_are_text_everywhere():
    world = World(targets=[target("10.0.0.1:80", HOSTILE, HOSTILE, __meta_evil=HOSTILE)])
    world.hosts = [HostStatus(HOSTILE, "down", last_error=HOSTILE, failures={HOSTILE: 1})]
    world.flags, world.config = {HOSTILE: HOSTILE}, HOSTILE
    world.reload = LastReload(successful=False, at=1.0, error=HOSTILE)
    async with serving(world, world.job(HOSTILE)) as served:
        job = link("", job=HOSTILE)
        ways = [link("/targets/why", job=HOSTILE, source="s", address="10.0.0.1:80"), f"/nothing{job}"]
        bad = link("/targets", job=HOSTILE, search=HOSTILE, state=HOSTILE, reason=HOSTILE)
        for path in [*(f"{urlsplit(view).path}{job}" for view in VIEWS if "why" not in view), ways[0], bad]:
            text = await page(served, path)
            tags = outline(text).tags
            assert "<script>alert" not in text
            assert "<img src=x" not in text
            assert not [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)], path
        assert "<script>alert" not in await page(served, link("/targets", job=HOSTILE + "x"), 404)
        assert "<script>alert" not in await page(
            served, link("/targets/why", job=HOSTILE, source=HOSTILE, address=HOSTILE), 404
        )


async def test_half_a_surrogate_pair_spoils_no_page():
    async with serving(World(targets=[target("10.0.0.1:80", "\ud800", "shop")])) as served:
        for path in ("/targets", "/cluster/matrix", "/targets/why?job=shop&source=s&address=10.0.0.1:80"):
            assert "?" in await page(served, path)


@pytest.mark.parametrize(
    "query",
    ["offset=-1", "offset=x", "offset=99999999999999999999999", "offset=%C2%B2", "a=b&a=c", "search=%00%ff&x",
     "limit=1000000", "number=1e9", "nth=-5", "state=dropped&state=scraped", "offset=5000000"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/targets", "/passed-over", "/cluster", "/cluster/matrix", "/history"])
async def test_unknown_and_odd_parameters_do_no_harm(served, path, query):
    await page(served, f"{path}?job=shop&{query}")


async def test_a_page_behind_the_end_leads_back(served):
    text = await page(served, "/targets?job=shop&offset=500")
    assert "This page is behind the last target" in text
    assert 'href="/targets?job=shop"' in text


@pytest.mark.parametrize("path", ["/targets", "/targets/why", "/passed-over", "/cluster", "/cluster/matrix"])
async def test_a_job_that_there_is_not_is_404_with_a_way_out(served, path):
    text = await page(served, f"{path}?job=nope", status=404)
    assert 'href="/targets?job=shop"' in text


async def test_a_target_that_is_gone_is_404_with_a_way_out(served):
    text = await page(served, "/targets/why?job=shop&source=s&address=10.9.9.9:80", status=404)
    assert 'href="/targets?job=shop&amp;search=10.9.9.9%3A80"' in text


# -- size, files, headers -------------------------------------------------------------------------------


async def test_a_page_stays_small_however_many_and_long_the_labels_are():
    labels = {f"__meta_label_{number}": "x" * 5000 for number in range(200)}
    many = [target(f"10.0.{n // 250}.{n % 250}:80", f"node{n}", f"service{n}", **labels) for n in range(1000)]
    async with serving(World(targets=many)) as served:
        assert len(await page(served, "/targets")) < 1_000_000
        assert len(await page(served, "/cluster/matrix")) < 400_000
        plain = [dict(list(one.items())[:3]) for one in many]
        served.world.targets = plain
        for path in ("/history", "/", "/passed-over"):
            assert len(await page(served, path)) < 150_000


async def test_who_takes_gzip_gets_the_page_packed(served):
    async with served.ask("/", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "Overview" in await answer.text()
    async with served.session.get(
        served.base, headers={"Accept-Encoding": "gzip"}, auto_decompress=False
    ) as answer:
        assert b"Overview" in gzip.decompress(await answer.read())


async def test_files_are_kept_for_ever_under_the_name_that_pages_give_them(served):
    text = await page(served, "/")
    for url in set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text)):
        async with served.ask(url) as answer:
            assert "immutable" in answer.headers["Cache-Control"]
            etag = answer.headers["ETag"]
        async with served.ask(url.partition("?")[0], headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
            assert answer.headers["Cache-Control"] == "no-cache"
    async with served.ask("/static/..%2Fviews.py") as answer:
        assert answer.status == 404


async def test_the_policy_of_every_answer_allows_no_script_in_the_page(served):
    async with served.ask("/") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", [one.name for one in (FILES / "templates").iterdir()])
def test_no_template_has_a_script_a_style_or_a_handler_in_it(name):
    text = (FILES / "templates" / name).read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


def test_nothing_is_fetched_from_anywhere_else():
    for folder in ("templates", "static"):
        for file in (FILES / folder).iterdir():
            urls = set(re.findall(r"https?://[^\s\"'<>)]+", file.read_text()))
            assert urls <= {"http://www.w3.org/2000/svg"}, file.name


# -- the parts ------------------------------------------------------------------------------------------


def test_a_link_says_only_what_is_not_the_default():
    assert link("/targets", job="a b", search="", state=None, offset=0) == "/targets?job=a+b"
    assert link("/cluster", "entry-0", job="x&y") == "/cluster?job=x%26y#entry-0"


def test_what_a_url_holds_is_what_a_view_is_asked():
    asked = Asked.of({"job": " j", "search": " a  b ", "offset": "50", "nth": "-1", "unknown": "x"})
    assert (asked.job, asked.search, asked.offset, asked.nth) == (" j", "a  b", 50, 0)


@pytest.mark.parametrize(
    ("offset", "shown", "previous", "next_", "first"),
    [(0, 50, None, 50, 1), (50, 50, 0, 100, 51), (100, 1, 50, None, 101), (25, 50, 0, 75, 26),
     (500, 0, 51, None, 0)],
)  # fmt: skip
def test_pages_lead_to_those_before_and_after(offset, shown, previous, next_, first):
    paging = Paging(101, offset, shown)
    assert (paging.previous, paging.next, paging.first, paging.end) == (previous, next_, first, 100)


def test_a_matrix_has_no_more_rows_and_columns_than_can_be_read():
    spots = [Spot(f"n{n:03}", f"s{s:03}", 1, 0, 0, {}) for n in range(60) for s in range(40)]
    made = matrix(spots, "", 40)
    assert (len(made.nodes), len(made.services), made.hidden) == (20, SERVICES, 40 - SERVICES)
    assert made.nodes[0] == f"n{NODES:03}"
    assert matrix(spots, "S039", 0).services == ["s039"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0126, "13 ms"), (-1, "0 ms"), (1, "1 s"), (59.6, "60 s"), (61, "1 min"), (7200, "2 h"),
     (86400, "24 h"), (200_000, "2 d")],
)  # fmt: skip
def test_spans_of_time_are_said_in_their_largest_unit(seconds, said):
    assert words.span(seconds) == said


def test_every_reason_of_a_change_has_words():
    assert words.WHY.keys() == words.WHY_IN_FULL.keys()
