"""What became of every target of a job: counted, searched, a page at a time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scripted import DEFAULTS, ScriptedConfig, rule
from tests.strategies import labels, rule_lists

from swarm_sd import inventory
from swarm_sd.explanation import state_of
from swarm_sd.history import Times
from swarm_sd.inventory import STATES, Cell, JobInventory, Place, Query
from swarm_sd.job import Job
from swarm_sd.model import Layered, TargetGroup
from swarm_sd.target import outcomes, populate

NODE, SERVICE = "__meta_dockerswarm_node_hostname", "__meta_dockerswarm_service_name"


class Standing:
    """Stands for a feed: groups by source, and a new list of them after every change."""

    config = ScriptedConfig(cluster="any")

    def __init__(self, *groups):
        self.groups = {one.source: one for one in groups}
        self.named = [((id(self), one.source), one) for one in groups]


def standing(*feeds):
    return [(index, feed, feed.named) for index, feed in enumerate(feeds)]


def of(*rules, **defaults):
    return JobInventory(Job("j", (), rules, {"job": "j", **DEFAULTS, **defaults}))


def found(made, feeds, text="", state="", reason="", offset=0, limit=1000):
    """(how many match, the addresses of the page)."""
    total, page = made.find(feeds, Query.of(text, state, reason), offset=offset, limit=limit)
    return total, [place.address for _, place in page]


WEB = TargetGroup(
    "task/web",
    (
        {"__address__": "10.0.0.1:80", "__meta_Zone": "Éu West"},
        {"__address__": "10.0.0.2:80", "team": "core", "slot": "2"},
        {"__address__": "10.0.0.3:80/x"},
    ),
    {SERVICE: "web"},
)
API = TargetGroup(
    "task/api",
    (
        Layered("10.0.1.1:80", ({SERVICE: "api"}, {NODE: "wrk1", "slot": "1"})),
        Layered("10.0.1.2:80", ({SERVICE: "api"}, {NODE: "wrk2", "slot": "2"})),
    ),
)
RULES = (
    rule("drop", source_labels=("slot",), regex="2"),
    rule(source_labels=(SERVICE,), target_label="app", replacement="the-$1"),
)


@pytest.fixture
def feeds():
    return standing(Standing(API, WEB))


def test_targets_are_counted_by_state_and_reason(feeds):
    counts = of(*RULES).counts(feeds)
    assert counts.states == {"scraped": 2, "dropped": 2, "refused": 1}
    assert counts.reasons == {"relabel_rule_1": 2, "not_an_address": 1}


def test_nothing_is_counted_as_nothing():
    assert of().counts([]).states == {"scraped": 0, "dropped": 0, "refused": 0}
    assert of().find([], Query.of("x"), offset=0, limit=10) == (0, [])


SEARCHES = {
    "": ["10.0.1.1:80", "10.0.1.2:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80/x"],
    "api": ["10.0.1.1:80", "10.0.1.2:80"],
    "API wrk2": ["10.0.1.2:80"],
    "wrk2 API": ["10.0.1.2:80"],
    f"{SERVICE}=web": ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80/x"],
    f'{SERVICE}="web"': ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80/x"],
    f"{SERVICE}=we": ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80/x"],
    f'{SERVICE}="we"': [],  # quotation marks mean a value to its end
    '="API" ="wrk1"': ["10.0.1.1:80"],
    "10.0.0.": ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80/x"],
    "__address__=10.0.1": ["10.0.1.1:80", "10.0.1.2:80"],
    "job=j __scheme__=http 10.0.1.1": ["10.0.1.1:80"],  # the job's own labels
    "zone=éu": ["10.0.0.1:80"],
    "app=the-api": ["10.0.1.1:80"],  # rules made it, of those that are scraped
    "app=the-": ["10.0.1.1:80", "10.0.0.1:80"],
    "instance=10.0.1.1": ["10.0.1.1:80"],
    "nowhere": [],
    "api nowhere": [],
    "api\nslot": ["10.0.1.1:80", "10.0.1.2:80"],
}


@pytest.mark.parametrize("text", SEARCHES)
def test_targets_are_found_by_words_of_their_labels(text, feeds):
    made = of(*RULES)
    for _ in range(2):  # with what is remembered of the first search, too
        assert found(made, feeds, text) == (len(SEARCHES[text]), SEARCHES[text])


def test_targets_are_found_by_state_and_reason(feeds):
    made = of(*RULES)
    assert found(made, feeds, state="dropped") == (2, ["10.0.1.2:80", "10.0.0.2:80"])
    assert found(made, feeds, reason="not_an_address") == (1, ["10.0.0.3:80/x"])
    assert found(made, feeds, "core", "dropped", "relabel_rule_1") == (1, ["10.0.0.2:80"])
    assert found(made, feeds, "core", "scraped") == (0, [])
    assert found(made, feeds, state="dropped", reason="not_an_address") == (0, [])
    assert found(made, feeds, reason="no_such_reason") == (0, [])


def test_a_row_is_all_that_is_known_of_a_target(feeds):
    made = of(*RULES)
    rows = [
        made.row(one, place, Times(1.0, 2.0))
        for one, place in made.find(feeds, Query(), offset=0, limit=9)[1]
    ]
    first, last = rows[0], rows[-1]
    assert (first.entry, first.kind, first.place) == (0, "scripted", Place("task/api", "10.0.1.1:80", 0))
    assert (first.state, first.reason, first.error) == ("scraped", "", "")
    assert first.labels["app"] == "the-api"
    assert first.discovered[NODE] == "wrk1"
    assert (first.first_seen, first.last_changed) == (1.0, 2.0)
    assert (last.state, last.reason, last.labels) == ("refused", "not_an_address", None)
    assert "not a valid hostname" in last.error


def test_targets_at_one_address_have_places_of_their_own():
    twins = TargetGroup(
        "s", ({"__address__": "a:1"}, {"__address__": "b:1"}, {"__address__": "a:1", "n": "2"})
    )
    other = TargetGroup("s", ({"__address__": "a:1", "n": "3"},))
    feeds, made = standing(Standing(twins), Standing(other)), of()
    _, page = made.find(feeds, Query(), offset=0, limit=9)
    assert [place.nth for _, place in page] == [0, 0, 1, 2]
    for one, place in page:
        assert made.at(feeds, place) == one
    for gone in (Place("s", "a:1", 3), Place("s", "b:1", 1), Place("t", "a:1", 0), Place("s", "a:1", -1)):
        assert made.at(feeds, gone) is None


def test_nodes_and_services_are_counted_together(feeds):
    assert of(*RULES).cells(feeds) == {
        ("wrk1", "api"): Cell(1, 0),
        ("wrk2", "api"): Cell(0, 1),
        ("", "web"): Cell(1, 2),
    }


def test_a_container_is_of_its_compose_service_or_else_of_itself():
    service = "__meta_docker_container_label_com_docker_compose_service"
    name = "__meta_docker_container_name"
    one = TargetGroup("c/1", ({"__address__": "a:1", service: "db", name: "/db-1"},))
    two = TargetGroup("c/2", ({"__address__": "a:2", name: "/solo"},))
    assert set(of().cells(standing(Standing(one, two)))) == {("", "db"), ("", "/solo")}


@pytest.fixture
def relabelled(monkeypatch):
    """The sources of the groups whose targets ran through the rules, as often as they did."""
    seen = []

    def counting(*of_job):
        run = outcomes(*of_job)

        def of_group(group):
            seen.append(group.source)
            return run(group)

        return of_group

    monkeypatch.setattr(inventory, "outcomes", counting)
    return seen


def test_groups_that_did_not_change_are_not_relabelled_again(relabelled):
    feed = Standing(API, WEB)
    made = of(*RULES)
    made.counts(standing(feed))
    made.find(standing(feed), Query.of("x"), offset=0, limit=5)
    made.cells(standing(feed))
    assert relabelled == ["task/api", "task/web"]
    new = Standing(API, TargetGroup("task/web", WEB.targets[:1]))
    new.named = [(feed.named[0][0], API), (feed.named[1][0], new.groups["task/web"])]
    assert made.counts(standing(new)).states["scraped"] == 2
    assert relabelled == ["task/api", "task/web", "task/web"]


def test_what_only_a_search_needs_is_let_go_after_a_while(monkeypatch, feeds):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    made = of(*RULES)
    found(made, feeds, "app=the-api")
    assert any(chunk.texts for chunk in made._chunks.values())
    now[0] += inventory._KEPT_FOR + 1
    made.counts(feeds)
    assert not any(chunk.texts for chunk in made._chunks.values())
    assert found(made, feeds, "app=the-api") == (1, ["10.0.1.1:80"])


def test_what_became_of_groups_that_are_gone_is_not_kept():
    made = of(rule("drop", source_labels=("n",), regex="[05]"))
    feed = Standing()
    for number in range(20):
        targets = tuple({"__address__": "a:1", "n": str(n)} for n in range(number))
        feed.named = [((id(feed), "s"), TargetGroup("s", targets))]
        made.counts(standing(feed))
    assert len(made._alike) == 1


# -- laws ---------------------------------------------------------------------------------------------

TARGETS = st.builds(
    lambda address, own, layered: (
        Layered(address, (own, {"z": "1"})) if layered else {**own, "__address__": address}
    ),
    st.sampled_from(["a:1", "b:1", "c:1/x"]),
    labels(),
    st.booleans(),
)
GROUPS = st.lists(st.tuples(st.lists(TARGETS, max_size=4), labels()), max_size=4)
QUERIES = st.builds(
    Query.of,
    st.sampled_from(["", "a", "a b", "role=", "MASTER", "__address__=a", "z=1 a"]),
    st.sampled_from(["", *STATES]),
    st.sampled_from(["", "relabel_rule_1", "not_an_address"]),
)


@given(st.lists(GROUPS, max_size=2), rule_lists(), QUERIES, st.integers(1, 5))
def test_the_pages_are_the_whole_and_nothing_is_there_twice(entries, rules, query, limit):
    feeds = standing(*(_feed(groups) for groups in entries))
    made = of(*rules)
    total, whole = made.find(feeds, query, offset=0, limit=1000)
    assert total == len(whole)
    pages = [made.find(feeds, query, offset=offset, limit=limit) for offset in range(0, total + limit, limit)]
    assert list(itertools.chain.from_iterable(page for _, page in pages)) == whole
    assert {number for number, _ in pages} <= {total}
    assert len({place for _, place in whole}) == total
    assert all(made.at(feeds, place) == one for one, place in whole)


@given(st.lists(GROUPS, max_size=2), rule_lists())
def test_what_is_found_by_a_state_is_what_is_counted_of_it(entries, rules):
    feeds = standing(*(_feed(groups) for groups in entries))
    made = of(*rules)
    counts = made.counts(feeds)
    for state in STATES:
        assert found(made, feeds, state=state)[0] == counts.states[state]
    for reason, number in counts.reasons.items():
        assert found(made, feeds, reason=reason)[0] == number
    cells = made.cells(feeds).values()
    assert sum(cell.scraped for cell in cells) == counts.states["scraped"]
    assert sum(cell.dropped for cell in cells) == counts.states["dropped"] + counts.states["refused"]


@given(GROUPS, rule_lists(), st.sampled_from(["a", "role=master", "b ab", "instance=a"]))
def test_a_search_finds_just_the_targets_that_have_each_word_in_a_label(groups, rules, text):
    feed = _feed(groups)
    made = of(*rules)
    wanted = []
    for group in feed.groups.values():
        for index, target in enumerate(group.targets):
            done = populate(target, group.labels, made.job.defaults, made.job.rules)
            own = [
                *made.job.defaults.items(),
                *group.labels.items(),
                *target.items(),
                *(done.labels or {}).items(),
            ]
            texts = [f"{name}={value}".lower() for name, value in own]
            if all(any(word in one for one in texts) for word in text.split()):
                wanted.append((group.source, index, state_of(done)[0]))
    _, page = made.find(standing(feed), Query.of(text), offset=0, limit=1000)
    got = [(one.group.source, one.index, made.row(one, place, Times(0, 0)).state) for one, place in page]
    assert got == wanted


def _feed(groups):
    return Standing(*(TargetGroup(f"s{n}", tuple(own), shared) for n, (own, shared) in enumerate(groups)))
