"""When a cluster is asked again and for what, on a clock that goes as fast as nothing happens."""

import asyncio
import itertools
import time
from types import SimpleNamespace

import pytest

from swarm_sd.discovery.docker_api import watch as module
from swarm_sd.discovery.docker_api.changes import Changes
from swarm_sd.discovery.docker_api.event_stream import Event
from swarm_sd.discovery.docker_api.watch import BUSY_SHARE, DEBOUNCE, IDLE_SHARE, LONGEST_BACKOFF, Watch
from swarm_sd.provider import DiscoveryError

INTERVAL = 60.0
BEGIN = 1000.0


class Clock(asyncio.SelectorEventLoop):
    """An event loop without I/O: instead of waiting it is later."""

    def __init__(self):
        super().__init__()
        self.now = BEGIN
        select = self._selector.select
        self._selector.select = lambda timeout: self._skip(timeout) or select(0)

    def _skip(self, timeout):
        assert timeout is not None, "nothing would ever happen again"
        self.now += timeout

    def time(self):
        return self.now


class Stream:
    """The event stream, as far as a watch looks at it."""

    def __init__(self, connected=True):
        self.connected = connected
        self.reconnects = 0

    def reconnect(self):
        self.reconnects += 1


class World:
    """A watch of a cluster that answers as it is told to.

    ``whole``, ``part``: seconds that an answer takes. ``everything``: when it was asked for, in seconds since
    the begin; ``parts``: (when, for what).
    """

    def __init__(self, *, whole=0.0, part=0.0, complete=True, connected=True):
        self.whole, self.part = whole, part
        self.everything, self.parts = [], []
        self.answered = []  # when each answer with everything came
        self.in_flight = set()  # services
        self.found = []  # what the next answers with everything find changed: (services, objects)
        self.fails = {}  # "everything" or "parts" -> the error
        self.last = (float("-inf"), 0.0)
        self.watch = Watch(self, complete=lambda: complete, interval=lambda: INTERVAL)
        self.watch.events = self.stream = Stream(connected)

    @property
    def now(self):
        return asyncio.get_running_loop().time() - BEGIN

    # --- what a watch needs of a cluster

    async def refresh(self):
        self.watch.begins()
        self.everything.append(self.now)
        self.last = (self.now + BEGIN, self.last[1])
        await asyncio.sleep(self.whole)
        if "everything" in self.fails:
            self.watch.failed()
            raise self.fails["everything"]
        self.answered.append(self.now)
        self.last = (self.last[0], self.whole)
        self.watch.refreshed(*(self.found.pop(0) if self.found else ((), ())))

    async def ask_for(self, changes):
        self.parts.append((self.now, changes))
        await asyncio.sleep(self.part)
        if "parts" in self.fails:
            raise self.fails["parts"]
        return ()

    def moving(self, services):
        return self.in_flight & set(services)

    def last_refresh(self):
        return self.last

    # --- what a test does

    async def goes_on(self, seconds, happens):
        task = asyncio.create_task(self.watch.run())
        for at, do in happens:
            await asyncio.sleep(at - self.now)
            do()
        await asyncio.sleep(seconds - self.now)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def run(self, seconds, *happens):
        """Lets the watch run; ``happens``: (when, what)."""
        with asyncio.Runner(loop_factory=Clock) as runner:
            runner.run(self.goes_on(seconds, happens))
        return self

    def hears(self, *names, kind="service", action="update"):
        """What is done when events come of these objects."""

        def hear():
            for name in names:
                self.watch.heard(Event(type=kind, action=action, id=name))

        return hear

    def parts_at(self):
        return [at for at, _ in self.parts]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    def monotonic():
        return asyncio.get_running_loop().time()

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic, time=time.time))


def pauses(times):
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def about(*times):
    return pytest.approx(times, abs=2 * DEBOUNCE + 0.001)


# --- everything


def test_while_events_tell_of_every_change_everything_is_asked_for_once_an_interval():
    world = World(complete=True).run(INTERVAL * 2 + 30)
    assert world.everything == about(0, INTERVAL, INTERVAL * 2)
    assert not world.parts


@pytest.mark.parametrize("trust", [{"complete": False}, {"connected": False}], ids=["tasks", "no stream"])
@pytest.mark.parametrize(
    ("whole", "pause"),
    [(0.001, module.SOONEST), (0.1, 0.1 / IDLE_SHARE), (0.3, 0.3 / IDLE_SHARE), (3, INTERVAL)],
    ids=["quick", "slow", "slower", "never more seldom than the interval"],
)
def test_what_events_do_not_tell_is_asked_for_in_a_small_share_of_the_time(trust, whole, pause):
    world = World(whole=whole, **trust).run(pause * 3 + 0.5)
    assert world.everything == about(*(pause * number for number in range(len(world.everything))))
    assert len(world.everything) == 4


@pytest.mark.parametrize("happened", ["connected", "lost"])
def test_everything_is_asked_for_at_once_when_a_stream_begins_or_ends(happened):
    world = World(whole=0.01)
    world.run(20, (10, lambda: getattr(world.watch, happened)()))
    assert world.everything == about(0, 10)


def test_an_event_that_may_be_about_everything_asks_for_everything():
    world = World()
    container = Event(type="container", id="c1")
    world.run(
        30, (10, world.hears("x", kind="cluster")), (20, lambda: world.watch.heard_of_anything(container))
    )
    assert world.everything == about(0, 10, 20)
    assert not world.parts


def test_events_that_ask_for_everything_all_the_time_get_it_for_a_part_of_the_time():
    world = World(whole=0.5)
    world.run(30, *((number / 10, world.watch.lost) for number in range(300)))
    assert min(pauses(world.everything)) >= 0.5 + 0.5 / BUSY_SHARE - 0.001
    assert len(world.everything) >= 8


def test_everything_is_not_asked_for_twice_at_once():
    world = World(whole=10)
    world.run(9, (1, world.watch.lost), (2, world.watch.connected))
    assert world.everything == about(0)


# --- parts


def test_an_event_asks_for_what_it_is_about_at_once():
    world = World()
    world.run(10.05, (10, world.hears("s1")))
    assert world.parts_at() == about(10)
    assert world.parts[0][1] == Changes({"s1"})


def test_events_that_come_together_are_one_question():
    world = World()
    hears = world.hears("n1", kind="node"), world.hears("net", kind="network"), world.hears("s1", "s2")
    world.run(10.05, *((10 + number / 1000, hear) for number, hear in enumerate(hears)))
    assert [changes for _, changes in world.parts] == [Changes({"s1", "s2"}, {"n1"}, networks=True)]


def test_what_changed_is_asked_for_until_it_is_sure_to_have_settled():
    world = World()
    world.run(30, (10, world.hears("s1")))
    assert {frozenset(changes.services) for _, changes in world.parts} == {frozenset({"s1"})}
    assert world.parts_at()[-1] - 10 == pytest.approx(module.SURE_AFTER, abs=0.3)
    assert max(pauses(world.parts_at())) < 0.15


def test_what_moves_is_asked_for_the_more_seldom_the_longer_it_takes():
    world = World()
    world.in_flight = {"s1"}
    world.run(200, (10, world.hears("s1")))
    begun = world.parts_at()[0]
    seen = [
        (at - begun, pause) for at, pause in zip(world.parts_at(), pauses(world.parts_at()), strict=False)
    ]
    youngest = 0.0
    for age, pause in module.CADENCE:
        some = [one for at, one in seen if youngest < at < age - pause]
        assert some
        assert some == pytest.approx([pause] * len(some), abs=0.001)
        youngest = age
    assert world.parts_at()[-1] - begun == pytest.approx(module.CADENCE[-1][0], abs=1.1)


def test_the_cadence_is_that_of_the_service_that_changed_last():
    world = World()
    world.in_flight = {"s1", "s2"}
    world.run(31, (10, world.hears("s1")), (30, world.hears("s2")))
    assert max(pauses([at for at in world.parts_at() if at > 30])) < 0.15
    assert world.parts[-1][1].services == {"s1", "s2"}


@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_what_settles_is_asked_for_in_a_share_of_the_time(seconds):
    world = World(part=seconds)
    world.in_flight = {"s1"}
    world.run(20, (10, world.hears("s1")))
    assert min(pauses(world.parts_at())[1:]) >= seconds + seconds / BUSY_SHARE - 0.001
    assert len(world.parts) >= 10 / (seconds + seconds / BUSY_SHARE) - 4


@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_a_storm_of_events_is_asked_about_in_a_share_of_the_time(seconds):
    world = World(part=seconds)
    storm = [(10 + number / 50, world.hears(f"s{number % 7}")) for number in range(500)]
    world.run(20, *storm)
    assert min(pauses(world.parts_at())) >= seconds + seconds / BUSY_SHARE - 0.001
    assert len(world.parts) >= 10 / (seconds + seconds / BUSY_SHARE) - 4


def test_what_a_list_found_changed_is_asked_for_until_it_has_settled():
    world = World(complete=False, whole=0.1)
    world.found = [((), ()), ({"s1"}, ())]
    world.run(10)
    assert world.everything == about(0, 5)
    assert {frozenset(changes.services) for _, changes in world.parts} == {frozenset({"s1"})}
    assert 5 < world.parts_at()[0] < 5.3
    assert world.parts_at()[-1] == pytest.approx(5.1 + module.SURE_AFTER, abs=0.3)


def test_what_an_event_told_of_just_before_everything_was_asked_for_is_asked_for_after_it():
    world = World(whole=0.1)
    world.run(13, (10, world.hears("s1")), (10, world.watch.connected))
    assert world.everything == about(0, 10)
    assert world.parts_at()[0] == pytest.approx(10.2, abs=0.1)
    assert world.parts[0][1].services == {"s1"}


# --- both


@pytest.mark.parametrize("kind", ["service", "node"])
def test_very_many_changes_are_everything(kind):
    world = World()
    world.run(12, (10, world.hears(*(f"x{number}" for number in range(1000)), kind=kind)))
    assert world.everything[:2] == about(0, 10)
    assert not [changes for _, changes in world.parts if len(changes.nodes) + len(changes.services) > 500]


def test_many_changes_are_parts():
    world = World()
    world.run(10.05, (10, world.hears(*(f"s{number}" for number in range(300)))))
    assert world.everything == about(0)
    assert [len(changes.services) for _, changes in world.parts] == [300]


def test_parts_are_asked_for_while_everything_is_on_its_way():
    world = World(whole=5)
    world.run(6, (1, world.hears("s1")), (3, world.hears("n1", kind="node")))
    assert [at for at in world.parts_at() if at < 1.1] == about(1)
    assert [at for at, changes in world.parts if changes.nodes] == about(3)
    assert world.answered == about(5)
    assert world.everything == about(0)


def test_what_happens_while_everything_is_on_its_way_is_no_reason_to_ask_for_it_again():
    world = World(whole=2)
    world.run(30, (1, world.hears("s1")))
    assert world.everything == about(0)


# --- failures


def test_after_a_part_that_failed_everything_is_asked_for():
    world = World()
    world.fails["parts"] = DiscoveryError("refused", "no")
    world.run(20, (10, world.hears("s1")))
    assert len(world.parts) == 1
    assert len(world.everything) == 2
    assert 10 + module.SOONEST - 0.001 <= world.everything[1] <= 10 + 2 * module.SOONEST + 0.1


def test_a_cluster_that_cannot_tell_is_asked_again_ever_more_seldom():
    world = World()
    world.fails["everything"] = DiscoveryError("refused", "no")
    world.run(120, *((at, world.hears("s1")) for at in range(1, 100)))
    found = pauses(world.everything)
    for number, pause in enumerate(found):
        longest = min(module.SOONEST * 2 ** (number + 1), LONGEST_BACKOFF)
        assert longest / 2 - 0.001 <= pause <= longest + 0.1
    assert len(found) >= 120 / (LONGEST_BACKOFF + 0.1) - 1
    assert not world.parts


def test_after_an_answer_the_pauses_are_short_again():
    world = World()
    world.fails["everything"] = DiscoveryError("refused", "no")
    mended = (30, world.fails.clear)
    no_parts = (60, lambda: world.fails.update(parts=DiscoveryError("refused", "no")))
    world.run(100, mended, no_parts, (92, world.hears("s1")))
    assert 92 < world.everything[-1] <= 92 + 2 * module.SOONEST + 0.1


def test_a_cluster_that_never_answers_parts_is_asked_for_everything_at_once():
    world = World()
    world.fails["parts"] = DiscoveryError("refused_filter", "no")
    events = range(10, 250, 20)
    world.run(260, *((at, world.hears("s1")) for at in events))
    waited = [next(asked for asked in world.everything if asked > at) - at for at in events]
    assert waited[0] > module.SOONEST / 2  # a part was tried first
    assert waited[3:] == about(*[0] * (len(events) - 3))


def test_when_a_stream_begins_a_cluster_that_answered_no_parts_is_asked_for_parts_again():
    world = World()
    world.fails["parts"] = DiscoveryError("refused_filter", "no")
    mended = (255, world.fails.clear), (256, world.watch.connected)
    world.run(280, *((at, world.hears("s1")) for at in range(10, 250, 20)), *mended, (270, world.hears("s1")))
    assert [at for at in world.parts_at() if at > 260][:2] == about(270, 270.1)
    assert not [at for at in world.everything if at > 260]


def test_a_mistake_of_ours_does_not_end_the_watch():
    world = World()
    world.fails["parts"] = RuntimeError("ours")
    world.run(20, (10, world.hears("s1")))
    assert len(world.everything) == 2


# --- whether the stream can be trusted


def test_a_change_that_no_event_told_of_is_missed_and_the_stream_opened_anew():
    world = World()
    world.found = [((), ()), ((), {"s1", "n1"})]
    world.run(INTERVAL * 1.5)
    assert world.watch.missed == 2
    assert world.stream.reconnects == 1


def test_while_a_change_has_not_been_told_of_everything_is_asked_for_as_without_events():
    world = World(whole=0.02)
    world.found = [((), ()), ((), {"s1"})]
    world.run(INTERVAL + module.TOLD_WITHIN - 1)
    assert pauses([at for at in world.everything if at >= INTERVAL]) == about(1, 1, 1)


@pytest.mark.parametrize("when", [-1, 1], ids=["before", "after"])
def test_an_event_that_comes_before_or_soon_after_the_change_was_seen_is_not_missed(when):
    world = World()
    world.found = [((), ()), ((), {"s1"})]
    world.run(INTERVAL * 1.5, (INTERVAL + when, world.hears("s1")))
    assert (world.watch.missed, world.stream.reconnects) == (0, 0)


def test_without_a_stream_nothing_is_missed():
    world = World(connected=False)
    world.found = [((), ()), ((), {"s1"}), ((), {"s2"})]
    world.run(INTERVAL * 1.5)
    assert (world.watch.missed, world.stream.reconnects) == (0, 0)


def test_what_changed_before_a_stream_began_is_not_missed():
    world = World()
    world.found = [((), {"s1"}), ((), {"s2"})]
    world.run(INTERVAL / 2, (10, world.watch.connected))
    assert len(world.everything) == 2
    assert (world.watch.missed, world.stream.reconnects) == (0, 0)


def test_a_stream_that_missed_something_is_not_believed_until_it_tells_something():
    world = World(whole=0.02)
    world.found = [((), ()), ((), {"s1"})]
    world.run(INTERVAL * 3, (INTERVAL * 2, world.hears("s2")))
    doubted = [at for at in world.everything if INTERVAL <= at < INTERVAL * 2]
    assert pauses(doubted) == about(*[1] * (len(doubted) - 1))
    assert len(doubted) > 50
    assert len([at for at in world.everything if at > INTERVAL * 2 + 1]) <= 1
    assert world.watch.missed == 1


def test_it_is_known_for_a_while_that_an_event_told_that_an_object_is_gone():
    world, seen = World(), []

    def look():
        seen.append((world.watch.announced("s1"), world.watch.announced("s2")))

    long = module.ANNOUNCED_FOR
    events = (10, world.hears("s1", action="remove")), (10, world.hears("s2", action="update"))
    world.run(100, *events, (11, look), (9 + long, look), (11 + long, look))
    assert seen == [(True, False), (True, False), (False, False)]


def test_a_watch_that_ends_takes_its_question_with_it():
    world = World(whole=10)
    world.run(5)
    assert world.everything == about(0)
    assert not world.answered
