"""What the labels of the convention declare, and what is said to whom mistypes one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_sd.discovery.dockerswarm.conventions import FIELDS, Declared, Endpoint, declared


def read(service=None, container=None, **options):
    return declared("web", service, container, **options)


def labels_of(service, **options):
    (endpoint,) = read(service, **options).endpoints
    return endpoint.labels


def complaint(service=None, container=None, **options):
    (one,) = read(service, container, **options).complaints
    return one.removeprefix("service web: ")


# -- which endpoints there are ---------------------------------------------------------------------------


def test_a_service_without_labels_declares_nothing():
    assert read({}) == read(None, None) == Declared()
    assert read({"com.example.team": "core"}) == Declared()


def test_scrape_true_declares_one_endpoint_whose_port_is_left_open():
    assert read({"prometheus.scrape": "true"}) == Declared((Endpoint(),))


def test_a_port_declares_an_endpoint_by_itself():
    assert read({"prometheus.port": "9100"}).endpoints == (Endpoint("", 9100),)


def test_scrape_false_takes_everything_out():
    labels = {"prometheus.scrape": "false", "prometheus.port": "9100", "prometheus.jmx.port": "9404"}
    assert read(labels) == Declared()
    assert read(labels, everything=True) == Declared()


def test_a_path_alone_declares_nothing():
    assert read({"prometheus.path": "/x"}) == Declared()


def test_every_service_has_an_endpoint_where_everything_is_scraped():
    assert read({}, everything=True) == Declared((Endpoint(),))
    assert read({"prometheus.path": "/x"}, everything=True).endpoints[0].labels == {"__metrics_path__": "/x"}


def test_endpoints_have_names_and_come_in_their_order():
    labels = {"prometheus.port": "80", "prometheus.jmx.port": "9404", "prometheus.app.port": "8080"}
    found = read(labels).endpoints
    assert [(one.name, one.port) for one in found] == [("", 80), ("app", 8080), ("jmx", 9404)]


def test_with_named_endpoints_there_is_no_other_unless_it_has_a_port():
    labels = {"prometheus.scrape": "true", "prometheus.jmx.port": "9404"}
    assert [one.name for one in read(labels).endpoints] == ["jmx"]
    assert [one.name for one in read(labels, everything=True).endpoints] == ["jmx"]


def test_the_containers_labels_win_key_by_key():
    service = {"prometheus.port": "1", "prometheus.path": "/service", "prometheus.scrape": "false"}
    container = {"prometheus.port": "2", "prometheus.scrape": "true"}
    (endpoint,) = read(service, container).endpoints
    assert (endpoint.port, endpoint.labels) == (2, {"__metrics_path__": "/service"})


def test_the_annotations_of_kubernetes_are_somebody_elses():
    assert read({"prometheus.io/scrape": "true", "prometheus.io/port": "x"}) == Declared()


# -- what an endpoint has --------------------------------------------------------------------------------


def test_each_label_becomes_what_prometheus_reads():
    found = labels_of(
        {
            "prometheus.port": "9115",
            "prometheus.path": "/probe",
            "prometheus.scheme": "https",
            "prometheus.job": "probes",
            "prometheus.param.module": "http_2xx",
            "prometheus.label.team": "core",
        }
    )
    assert found == {
        "__metrics_path__": "/probe",
        "__scheme__": "https",
        "job": "probes",
        "__param_module": "http_2xx",
        "team": "core",
    }


def test_the_network_is_kept_with_the_label_that_names_it():
    (one,) = read({"prometheus.port": "1"}, {"prometheus.network": "mon"}).endpoints
    assert (one.network, one.network_key) == ("mon", "container label prometheus.network")


def test_what_is_written_without_a_name_holds_for_named_endpoints_too_but_the_port():
    labels = {
        "prometheus.label.team": "core",
        "prometheus.path": "/app",
        "prometheus.network": "mon",
        "prometheus.jmx.port": "9404",
        "prometheus.jmx.path": "/metrics",
        "prometheus.app.port": "8080",
    }
    app, jmx = read(labels).endpoints
    assert app.labels == {"team": "core", "__metrics_path__": "/app"}
    assert jmx.labels == {"team": "core", "__metrics_path__": "/metrics"}
    assert app.network == jmx.network == "mon"


def test_an_empty_value_takes_a_label_away_again():
    service = {"prometheus.port": "1", "prometheus.job": "x", "prometheus.label.team": "core"}
    (one,) = read(service, {"prometheus.job": "", "prometheus.label.team": ""}).endpoints
    assert one.labels == {}


def test_prometheus_job_wins_over_a_label_of_that_name():
    labels = {"prometheus.port": "1", "prometheus.label.job": "one", "prometheus.job": "two"}
    assert labels_of(labels) == {"job": "two"}


def test_a_parameter_may_be_called_like_a_field():
    assert labels_of({"prometheus.port": "1", "prometheus.param.port": "x"}) == {"__param_port": "x"}
    assert labels_of({"prometheus.a.port": "1", "prometheus.a.label.path": "x"}) == {"path": "x"}


# -- what is wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("port", "0", "'0' is no port; write a number from 1 to 65535"),
        ("port", "65536", "'65536' is no port; write a number from 1 to 65535"),
        ("port", "9100/tcp", "'9100/tcp' is no port; write a number from 1 to 65535"),
        ("port", "", "'' is no port; write a number from 1 to 65535"),
        ("port", "²", "'²' is no port; write a number from 1 to 65535"),
        ("port", "1,2", "'1,2' is no port; for several write prometheus.<endpoint>.port for each"),
        ("path", "metrics", "'metrics' is no path; begin it with a slash"),
        ("path", "", "'' is no path; begin it with a slash"),
        ("path", "/m?a=b", "'/m?a=b': a path has no parameters; write prometheus.param.<name> for each"),
        ("scheme", "HTTPS", "'HTTPS'; write http or https"),
        ("scrape", "yes", "'yes'; write \"true\" or \"false\""),
        ("param.a-b", "x", "'a-b' cannot be a parameter here; use letters, digits and _"),
        ("label.a-b", "x", "'a-b' is no label name; use letters, digits and _, no __ in front"),
        ("label.__a", "x", "'__a' is no label name; use letters, digits and _, no __ in front"),
        ("label.0a", "x", "'0a' is no label name; use letters, digits and _, no __ in front"),
        ("prot", "80", "unknown, did you mean prometheus.port?"),
        ("Port", "80", "unknown, did you mean prometheus.port?"),
        ("app.prot", "80", "unknown, did you mean prometheus.app.port?"),
        ("lable.team", "core", "unknown, did you mean prometheus.label.team?"),
        ("app.lable.team", "core", "unknown, did you mean prometheus.app.label.team?"),
        ("app.scrape", "true", None),
        ("port.foo", "x", None),
        ("label", "x", None),
        ("a.b.c.d", "x", None),
        ("", "x", None),
        ("xyz", "x", f"unknown; there are {', '.join(FIELDS)}, param.<name> and label.<name>"),
    ],
)  # fmt: skip
def test_a_label_that_cannot_be_used_is_told_with_service_key_and_the_way_out(key, value, what):
    labels = {f"prometheus.{key}": value}
    told = complaint(labels)
    assert told.startswith(f"label prometheus.{key}: ")
    assert what is None or told == f"label prometheus.{key}: {what}"
    assert complaint(None, labels) == f"container {told}"


def test_a_misspelt_prometheus_is_told_if_the_rest_makes_sense():
    told = "label promethues.port: unknown, did you mean prometheus.port?"
    assert complaint({"promethues.port": "9100"}) == told
    assert read({"promethues.io.thing": "x", "com.port": "80", "promethues": "x"}) == Declared()


def test_a_named_endpoint_needs_a_port():
    told = "label prometheus.jmx.path: endpoint 'jmx' has no port; write prometheus.jmx.port too"
    assert complaint({"prometheus.jmx.path": "/x"}) == told


def test_two_endpoints_that_are_the_same_are_one_and_told():
    found = read({"prometheus.port": "80", "prometheus.a.port": "80", "prometheus.b.port": "80"})
    assert [one.name for one in found.endpoints] == [""]
    assert found.complaints == (
        "service web: label prometheus.a.port: the same port and path as prometheus.port; change one of them",
        "service web: label prometheus.b.port: the same port and path as prometheus.port; change one of them",
    )


def test_one_port_may_have_several_paths_and_parameters():
    labels = {
        "prometheus.a.port": "80",
        "prometheus.b.port": "80",
        "prometheus.b.path": "/b",
        "prometheus.c.port": "80",
        "prometheus.c.param.x": "y",
    }
    assert len(read(labels).endpoints) == 3
    assert read(labels).complaints == ()


# -- and what still works --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["port", "path", "scheme"])
def test_an_endpoint_that_says_wrongly_where_to_scrape_has_no_target_and_the_others_have(field):
    labels = {"prometheus.a.port": "1", "prometheus.b.port": "2", f"prometheus.b.{field}": "?"}
    found = read(labels)
    assert [one.name for one in found.endpoints] == ["a"]
    assert len(found.complaints) == 1


def test_a_wrong_value_that_is_overridden_does_no_harm():
    labels = {"prometheus.path": "x", "prometheus.a.port": "1", "prometheus.a.path": "/right"}
    assert [one.labels for one in read(labels).endpoints] == [{"__metrics_path__": "/right"}]


@pytest.mark.parametrize("key", ["label.a-b", "param.a-b", "scrape", "prot"])
def test_a_label_that_says_nothing_of_where_to_scrape_is_passed_over(key):
    found = read({"prometheus.port": "9100", f"prometheus.{key}": "x"})
    assert [one.port for one in found.endpoints] == [9100]
    assert len(found.complaints) == 1


# -- laws ------------------------------------------------------------------------------------------------

words = st.sampled_from([*FIELDS, "param", "label", "app", "jmx", "io/scrape", "prot", "x-y", ""])
keys = st.lists(words, max_size=4).map(lambda parts: ".".join(["prometheus", *parts]))
values = st.sampled_from(["", "true", "false", "80", "8080", "0", "/a", "a", "https", "http", "\n"])
labels = st.dictionaries(keys, values, max_size=7)


@settings(max_examples=60, deadline=None)
@given(labels, labels, st.booleans())
def test_whatever_is_written_every_endpoint_is_another_one_and_every_complaint_names_the_service(
    service, container, everything
):
    found = read(service, container, everything=everything)
    places = {
        (one.port, one.labels.get("__metrics_path__"), str(sorted(one.labels))) for one in found.endpoints
    }
    assert len({one.name for one in found.endpoints}) == len(found.endpoints)
    assert all(one.port is None or 0 < one.port < 65536 for one in found.endpoints)
    assert len(places) <= len(found.endpoints)
    assert all(one.startswith("service web: ") and " prometheus" in one for one in found.complaints)


@settings(max_examples=40, deadline=None)
@given(labels, st.randoms(use_true_random=False))
def test_the_order_of_labels_does_not_matter(service, chance):
    shuffled = list(service.items())
    chance.shuffle(shuffled)
    assert read(dict(shuffled)) == read(service)
