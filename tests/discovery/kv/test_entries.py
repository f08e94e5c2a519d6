"""Entries of nodes:// and file://: ranges, lists, lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_sd.discovery.kv.entries import MOST, expand, is_entry, listed, of_file, usable


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.1:8080", ["127.0.0.1:8080"]),
        ("127.0.0.[1]", ["127.0.0.[1]"]),
        ("127.0.0.[1:3]:2375", ["127.0.0.1:2375", "127.0.0.2:2375", "127.0.0.3:2375"]),
        ("10.0.0.1:[2375:2376]", ["10.0.0.1:2375", "10.0.0.1:2376"]),
        ("node[9:10].example.com:2375", ["node9.example.com:2375", "node10.example.com:2375"]),
        ("127.0.0.[x:11]:2375", ["127.0.0.[x:11]:2375"]),
        ("127.0.0.[1:x]:2375", ["127.0.0.[1:x]:2375"]),
        ("10.0.0.[01:03]:1", ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]),
        ("[fd99::14]:2375", ["[fd99::14]:2375"]),
        ("10.0.0.[7:7]:1", ["10.0.0.7:1"]),
        ("[fd99::14]:[1:2]", ["[fd99::14]:1", "[fd99::14]:2"]),
    ],
)
def test_a_range_stands_for_its_entries_and_anything_else_for_itself(pattern, expected):
    assert expand(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("10.0.0.[5:1]:2375", r"counts down; write \[1:5\]"),
        ("10.0.[0:1].[0:9]:2375", "two ranges"),
        ("10.0.0.[0:99999999]:2375", f"more than {MOST}"),
    ],
)
def test_a_range_that_cannot_be_meant_is_an_error(pattern, message):
    with pytest.raises(ValueError, match=message):
        expand(pattern)


numbers = st.integers(0, 60_000)
around = st.text(st.characters(codec="ascii", exclude_characters="[]"), max_size=8)


@given(around, numbers, st.integers(0, 200), around)
def test_a_range_gives_every_number_once_and_in_order(before, first, more, after):
    found = expand(f"{before}[{first}:{first + more}]{after}")
    assert found == [f"{before}{number}{after}" for number in range(first, first + more + 1)]


@given(st.text(st.characters(exclude_characters="[")))
def test_a_text_without_a_bracket_is_itself(text):
    assert expand(text) == [text]


@given(st.text("[]:0123456789abx.-% ", max_size=30))
def test_no_text_breaks_it(text):
    try:
        found = expand(text)
    except ValueError:
        return
    assert found


@pytest.mark.parametrize(
    "text", ["10.0.0.1:2375", "node-a:1", "a.example.com:65535", "[fd99::14]:2375", "[::1]:1", "a_b:80"]
)
def test_an_entry_is_host_and_port(text):
    assert is_entry(text)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "10.0.0.1", "10.0.0.1:", ":2375", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:x",
        "fd99::14:2375", "[fd99::14]", "[nope]:2375", " 10.0.0.1:2375", "10.0.0.1:2375 ", "http://10.0.0.1:2375",
        "a/b:1", "-a:1", "10.0.0.1:٣", "a:b:1", "[]:1", "user@host:1",
    ],
)  # fmt: skip
def test_what_is_no_host_and_port_is_no_entry(text):
    assert not is_entry(text)


def test_a_list_has_its_entries_once_each_in_their_order():
    assert listed("10.0.0.[2:3]:1, a:1,10.0.0.3:1") == ("10.0.0.2:1", "10.0.0.3:1", "a:1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1:2375,", "a comma too many"),
        (",10.0.0.1:2375", "a comma too many"),
        ("10.0.0.1", "not host:port: '10.0.0.1'; write it like"),
        ("a:1,b", "not host:port: 'b'"),
        ("a:1,10.0.0.[9:8]:1", "counts down"),
    ],
)
def test_a_list_with_something_else_in_it_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        listed(text)


def test_a_file_may_have_comments_empty_lines_and_any_line_ends():
    content = "\ufeff# nodes\r\n10.0.0.[1:2]:2375 # two\r\n\n  a:1  \n#b:1\n10.0.0.1:2375"
    assert of_file(content) == (("10.0.0.1:2375", "10.0.0.2:2375", "a:1"), {})


def test_a_bad_line_of_a_file_is_counted_and_the_others_stay():
    nodes, skipped = of_file("a:1\nnonsense\nb:1,c:1\n10.0.0.[3:1]:1\n10.0.0.[1:2]\n")
    assert nodes == ("a:1",)
    assert skipped == {"invalid_address": 4, "invalid_range": 1}


@given(st.text())
def test_no_file_breaks_it(content):
    nodes, _ = of_file(content)
    assert all(map(is_entry, nodes))


def test_what_is_usable_is_sorted_and_counted():
    assert usable(["b:1", "a:1", "b:1", "x"]) == (("a:1", "b:1"), {"invalid_address": 1})
