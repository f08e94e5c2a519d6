"""Who asks for lists: what is known of each, how many, and for how long."""

import pytest

from swarm_sd.deliver.clients import MOST, POLLING, REFRESH_INTERVAL, Clients


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def clients(clock):
    return Clients(clock=clock)


def see(clients, *, agent="Prometheus/3.14.0", interval="15", path="/sd/a", job="a", **more):
    headers = {"User-Agent": agent} | ({} if interval is None else {REFRESH_INTERVAL: interval})
    given = {"address": "10.0.0.7", "relabel": False, "status": 200, **more}
    clients.seen(path=path, job=job, headers=headers, **given)


def test_a_client_is_told_with_all_that_it_says_of_itself(clients, clock):
    see(clients)
    clock.now = 1015.0
    see(clients, status=503)
    (one,) = clients.all()
    assert (one.address, one.user_agent, one.path, one.job) == ("10.0.0.7", "Prometheus/3.14.0", "/sd/a", "a")
    assert (one.interval, one.requests, one.last_status, one.relabel) == (15.0, 2, 503, False)
    assert (one.first_time, one.last_time) == (1000.0, 1015.0)


def test_the_one_seen_last_is_the_first(clients):
    for agent in ("a", "b", "c", "a"):
        see(clients, agent=agent)
    assert [one.user_agent for one in clients.all()] == ["a", "c", "b"]


@pytest.mark.parametrize(
    "other",
    [{"agent": "curl/8"}, {"address": "10.0.0.8"}, {"path": "/sd/a/0"}, {"relabel": True}],
    ids=lambda other: next(iter(other)),
)
def test_another_address_program_or_list_is_another_client(clients, other):
    see(clients)
    see(clients, **other)
    assert [one.requests for one in clients.all()] == [1, 1]


@pytest.mark.parametrize(
    ("announced", "seconds"),
    [
        ("0.5", 0.5),
        ("60", 60.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e300", None),
        ("-3", None),
        ("0", None),
    ],
)
def test_an_interval_may_be_fractional_and_nonsense_is_none(clients, announced, seconds):
    see(clients, interval=announced)
    assert clients.all()[0].interval == seconds


def test_of_more_than_the_most_the_longest_unseen_are_forgotten(clients):
    for number in range(MOST + 5):
        see(clients, agent=str(number))
        see(clients, agent="always")
    known = [one.user_agent for one in clients.all()]
    assert len(known) == MOST
    assert known[:2] == ["always", str(MOST + 4)]
    assert "5" not in known


def test_what_a_client_sends_is_cut_and_made_utf_8(clients):
    see(clients, agent="x" * 10_000 + "\udcff", path="/sd/" + "y" * 10_000)
    see(clients, agent="\udcff")
    odd, long = clients.all()
    assert odd.user_agent == "?"
    assert len(long.user_agent) == len(long.path) == 300


def test_who_polls_is_who_was_seen_lately_by_its_own_interval(clients, clock):
    see(clients, agent="quick", interval="5")
    see(clients, agent="slow", interval="3600")
    see(clients, agent="nothing", path="/sd/x", job="", status=404)
    assert clients.polling(["a", "b"]) == {"a": 2, "b": 0}
    clock.now += POLLING + 1
    assert clients.polling(["a", "b"]) == {"a": 1, "b": 0}
    clock.now += 3 * 3600
    assert clients.polling(["a", "b"]) == {"a": 0, "b": 0}
