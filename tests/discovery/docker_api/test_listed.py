"""Lists are read while they arrive, and what was read before is not read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.discovery.docker_api.test_wire_parts import body, tricky

from swarm_sd.discovery.docker_api import listed
from swarm_sd.discovery.docker_api.listed import ListReader
from swarm_sd.discovery.docker_api.wire import Task
from swarm_sd.provider import DiscoveryError


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(listed, "PART", 600)


def read_in_chunks(reader, answer, sizes):
    reading = reader.begin()
    for size in sizes:
        reading.feed(answer[:size])
        answer = answer[size:]
    reading.feed(answer)
    return reading.done()


@given(st.integers(0, 40), st.lists(st.integers(0, 700)))
def test_any_chunks_give_what_the_whole_gives(count, sizes):
    answer = body([tricky(number) for number in range(count)])
    found = read_in_chunks(ListReader(Task), answer, sizes)
    assert found == ListReader(Task).read(answer)
    assert len(found) == count


def test_the_same_answer_is_the_same_list():
    reader, answer = ListReader(Task), body([tricky(number) for number in range(40)])
    assert reader.read(answer) is reader.read(answer)


@given(st.integers(0, 199), st.sampled_from(["change", "insert", "remove"]))
def test_objects_far_from_what_changed_are_the_very_same(number, what):
    reader, tasks = ListReader(Task), [tricky(number) for number in range(200)]
    before = {task.id: task for task in reader.read(body(tasks))}
    if what == "change":
        tasks[number]["Slot"] = 1000
    elif what == "insert":
        tasks.insert(number, tricky(1000))
    else:
        del tasks[number]
    after = reader.read(body(tasks))
    assert after == ListReader(Task).read(body(tasks))
    new = [task.id for task in after if task is not before.get(task.id)]
    assert len(new) <= 60, "what is near a change is read anew, not the list"


def test_a_list_that_became_another_is_not_remembered():
    reader = ListReader(Task)
    reader.read(body([tricky(number) for number in range(40)]))
    reader.read(body([tricky(1)]))
    assert sum(len(part.objects) for part in reader.parts.values()) == 1


def test_an_answer_that_failed_half_way_does_not_harm_the_next():
    reader, answer = ListReader(Task), body([tricky(number) for number in range(40)])
    reading = reader.begin()
    reading.feed(answer[:-20])
    with pytest.raises(DiscoveryError, match="something else than a JSON list"):
        reading.done()
    assert len(reader.read(answer)) == 40


def test_two_answers_may_arrive_at_once():
    reader = ListReader(Task)
    first, second = body([tricky(1), tricky(2)]), body([tricky(3)])
    one, other = reader.begin(), reader.begin()
    one.feed(first[:50])
    other.feed(second)
    one.feed(first[50:])
    assert [task.id for task in other.done()] == ["t3"]
    assert [task.id for task in one.done()] == ["t1", "t2"]


def test_ids_unlike_dockers_only_make_longer_parts():
    tasks = [{**tricky(number), "ID": f"TASK-{number}"} for number in range(200)]
    reader = ListReader(Task)
    assert [task.id for task in reader.read(body(tasks))] == [task["ID"] for task in tasks]
    assert len(reader.parts) > 2


def test_bytes_that_are_no_text_become_replacement_characters():
    tasks = [tricky(number) for number in range(40)]
    tasks[20]["DesiredState"] = "ODD"
    found = ListReader(Task).read(body(tasks).replace(b"ODD", b"\xff"))
    assert [task.desired_state for task in found if task.desired_state] == ["\ufffd"]


@pytest.mark.parametrize("answer", [b"", b"{}", b"null", b"[1,2", b"[" * 100_000, b"<html>"])
def test_what_is_no_list_is_told(answer):
    with pytest.raises(DiscoveryError) as told:
        ListReader(Task).read(answer)
    assert told.value.reason == "not_json"
