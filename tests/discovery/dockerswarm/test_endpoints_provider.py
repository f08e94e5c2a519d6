"""``role: endpoints`` as an entry: what it takes, what it asks for, and what it tells."""

import pytest
import structlog
from tests.discovery.docker_api.test_cluster import config, provider, running, until

from swarm_sd.config import load
from swarm_sd.config.complaints import ConfigError
from swarm_sd.discovery.docker_api.sd_config import FilterConfig
from swarm_sd.discovery.dockerswarm import own_networks
from swarm_sd.discovery.dockerswarm import provider as module
from swarm_sd.discovery.dockerswarm.own_networks import container_of, own_container
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.swarm import Swarm

ID = "4f" * 32


@pytest.fixture
def swarm():
    made = Swarm(("mgr1", "mgr2"), ("wrk1",), seed=1)
    for name in ("back", "mon"):
        made.create_network(name, attachable=True)
    labels = {"prometheus.port": "9100"}
    made.create_service("web", networks=["back", "mon"], labels=labels)
    made.create_service("db", networks=["back"], labels=labels)
    made.create_service("swarm-sd", networks=["mon"])
    return made.settle()


def address(swarm, service, network):
    """Where the one task of a service is on a network, with port 9100."""
    task = next(one for one in swarm.tasks.values() if one["ServiceID"] == swarm.service(service)["ID"])
    (ip,) = [
        end["Addresses"][0]
        for end in task["NetworksAttachments"]
        if end["Network"]["Spec"]["Name"] == network
    ]
    return f"{ip.partition('/')[0]}:9100"


def container(swarm, service):
    task = next(one for one in swarm.tasks.values() if one["ServiceID"] == swarm.service(service)["ID"])
    return task["Status"]["ContainerStatus"]["ContainerID"]


def endpoints(*daemons, **more):
    return provider(*daemons, role="endpoints", **more)


# -- the entry -----------------------------------------------------------------------------------------------


def loaded(tmp_path, fields):
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n- job_name: x\n  dockerswarm_sd_configs:\n  - host: tcp://m:1\n    " + fields + "\n"
    )
    (job,) = load(tmp_path / "prometheus.yml").jobs
    return job.sd_configs[0]


def test_an_entry_takes_the_fields_of_the_role(tmp_path):
    fields = "role: endpoints\n    scrape: all\n    networks: [mon, auto]\n    address_family: both"
    entry = loaded(tmp_path, f"{fields}\n    instance: hostname")
    assert (entry.scrape, entry.networks, entry.address_family, entry.instance) == (
        "all",
        ("mon", "auto"),
        "both",
        "hostname",
    )


@pytest.mark.parametrize("networks", ["auto", "[auto]", "\n    - auto"])
def test_one_network_may_be_written_without_a_list(tmp_path, networks):
    assert loaded(tmp_path, f"role: endpoints\n    networks: {networks}").networks == ("auto",)


@pytest.mark.parametrize(
    "field", ["scrape: all", "networks: [a]", "address_family: ipv6", "instance: address"]
)
def test_another_role_does_nothing_with_them_and_says_so(tmp_path, field):
    with pytest.raises(ConfigError) as failure:
        loaded(tmp_path, f"role: tasks\n    {field}")
    (complaint,) = failure.value.complaints
    name = field.partition(":")[0]
    assert complaint.path == f"scrape_configs[0].dockerswarm_sd_configs[0].{name}"
    assert complaint.what == "only role: endpoints has it; this is role: tasks"
    assert complaint.line == 6


@pytest.mark.parametrize(
    ("networks", "why"),
    [
        ('""', ["an empty name; write a network's name or auto"]),
        ('[mon, " ", " "]', ["an empty name; write a network's name or auto"]),
        ("Auto", ["'Auto': did you mean auto?"]),
        ("[AUTO, auto]", ["'AUTO': did you mean auto?"]),
        ("[automatic]", []),
        ("", []),
    ],
)
def test_a_name_that_no_network_has_is_refused(tmp_path, networks, why):
    try:
        loaded(tmp_path, f"role: endpoints\n    networks: {networks}")
        told = []
    except ConfigError as failure:
        told = failure.complaints
    assert [one.what for one in told] == why
    assert {one.path for one in told} <= {"scrape_configs[0].dockerswarm_sd_configs[0].networks"}
    assert {one.line for one in told} <= {6}


def test_entries_that_differ_in_what_they_choose_have_other_targets():
    base = {"role": "endpoints"}
    identities = [
        repr(config("http://m:1", **base, **more).identity())
        for more in (
            {},
            {"scrape": "all"},
            {"networks": ("a",)},
            {"networks": ("a", "b")},
            {"address_family": "both"},
            {"instance": "address"},
        )
    ]
    assert len(set(identities)) == len(identities)


def test_the_identity_of_other_roles_is_as_it_was():
    assert config("http://m:1", role="tasks").identity() == ("dockerswarm", ["http://m:1"], "tasks", "80", "")


# -- its targets, and what is counted ------------------------------------------------------------------------


async def test_it_asks_for_the_lists_of_role_tasks(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        one = endpoints(daemon)
        async with running(one) as (seen,):
            await until(lambda: seen)
            assert seen.values_of("__address__") == sorted(
                [address(swarm, "web", "back"), address(swarm, "db", "back")]
            )
        asked = {request.path.rpartition("/")[2].partition("?")[0] for request in daemon.requests}
        assert {"tasks", "services", "nodes", "networks"} <= asked
        assert "json" not in asked


async def test_tasks_without_an_endpoint_are_counted_by_reason(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        one = endpoints(daemon, networks=("mon",))
        async with running(one) as (seen,):
            await until(lambda: seen)
            assert one.status().skipped == {"not_labelled": 1, "no_shared_network": 1}


async def test_filters_choose_tasks(swarm):
    filters = (FilterConfig(name="service", values=("web",)),)
    async with Daemon.on(swarm, "mgr1") as daemon, running(endpoints(daemon, filters=filters)) as (seen,):
        await until(lambda: seen)
        assert seen.values_of("__address__") == [address(swarm, "web", "back")]


async def test_a_mistyped_label_is_logged_once_and_once_when_it_is_gone(swarm):
    swarm.create_service("app", networks=["mon"], labels={"prometheus.prot": "9100"})
    swarm.settle()
    async with Daemon.on(swarm, "mgr1") as daemon:
        one = endpoints(daemon)
        with structlog.testing.capture_logs() as lines:
            async with running(one):

                def told():
                    return [line for line in lines if "a label" in line["event"]]

                await until(lambda: one.status().refreshes > 3)
                (line,) = told()
                assert line["err"] == (
                    "service app: label prometheus.prot: unknown, did you mean prometheus.port?"
                )
                assert line["log_level"] == "warning"
                assert one.status().skipped["bad_label"] == 1
                swarm.service("app")["Spec"]["Labels"] = {"prometheus.port": "9100"}
                swarm.touch(swarm.service("app"))
                await until(lambda: len(told()) == 2)
                assert told()[1]["log_level"] == "info"
                assert "bad_label" not in one.status().skipped


# -- networks: [auto] ----------------------------------------------------------------------------------------


@pytest.fixture
def within(monkeypatch):
    """Makes swarm-sd believe that it is in a container."""

    def within(container_id):
        monkeypatch.setattr(module, "own_container", lambda: container_id)

    return within


@pytest.mark.parametrize("length", [64, 12])
async def test_the_networks_of_swarm_sds_own_task_are_shared(swarm, within, length):
    within(container(swarm, "swarm-sd")[:length])
    async with Daemon.on(swarm, "mgr1") as daemon:
        one = endpoints(daemon, networks=("auto",))
        async with running(one) as (seen,):
            await until(lambda: seen)
            assert seen.values_of("__address__") == [address(swarm, "web", "mon")]
            assert one.status().skipped["no_shared_network"] == 1
        assert not any("containers" in request.path for request in daemon.requests)


async def test_networks_that_are_named_before_it_come_first(swarm, within):
    within(container(swarm, "swarm-sd"))
    async with (
        Daemon.on(swarm, "mgr1") as daemon,
        running(endpoints(daemon, networks=("back", "auto"))) as (seen,),
    ):
        await until(lambda: seen)
        assert seen.values_of("__address__") == sorted(
            [address(swarm, "web", "back"), address(swarm, "db", "back")]
        )


async def test_a_container_that_is_no_task_is_asked_for_at_each_manager(swarm, within):
    mon = swarm.network("mon")
    async with Daemon.on(swarm, "mgr1") as first, Daemon.on(swarm, "mgr2") as second:
        made = swarm.engines[second.node["ID"]].run("swarm-sd")
        made["NetworkSettings"]["Networks"] = {
            "mon": {**made["NetworkSettings"]["Networks"]["bridge"], "NetworkID": mon.id}
        }
        within(made["Id"])
        one = endpoints(first, second, networks=("auto",))
        async with running(one) as (seen,):
            await until(lambda: seen)
            assert seen.values_of("__address__") == [address(swarm, "web", "mon")]


async def test_that_the_container_is_found_no_more_changes_nothing(swarm, within, monkeypatch):
    monkeypatch.setattr(own_networks, "ASK_EVERY", 0.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        made = swarm.engines[daemon.node["ID"]].run("swarm-sd")
        made["NetworkSettings"]["Networks"]["bridge"]["NetworkID"] = swarm.network("mon").id
        within(made["Id"])
        one = endpoints(daemon, networks=("auto",))
        async with running(one) as (seen,):
            await until(lambda: seen)
            swarm.engines[daemon.node["ID"]].remove("swarm-sd")
            before = one.status().refreshes
            await until(lambda: one.status().refreshes > before + 2)
            assert seen.values_of("__address__") == [address(swarm, "web", "mon")]
            assert one.status().last_error == ""


@pytest.mark.parametrize("container_id", [ID, ""])
async def test_while_the_own_networks_are_not_known_nothing_is_told(swarm, within, container_id):
    within(container_id)
    async with Daemon.on(swarm, "mgr1") as daemon:
        one = endpoints(daemon, networks=("auto",))
        async with running(one) as (seen,):
            await until(lambda: one.status().failures.get("not_found", 0) > 1)
            assert seen.updates == 0
            assert "networks: auto" in one.status().last_error


MOUNTINFO = f"""\
501 492 0:51 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/{"ab" * 32}/diff
520 501 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw
521 501 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("mountinfo", "hostname", "found"),
    [
        (MOUNTINFO, "web.example", ID),
        (MOUNTINFO.replace("/var/lib/docker", "/data"), "x", ID),
        ("", "4f4f4f4f4f4f", "4f4f4f4f4f4f"),
        ("22 1 8:1 / / rw - ext4 /dev/sda1 rw", "worker1", ""),
        ("", "4f4f4f4f4f4g", ""),
    ],
)
def test_the_own_container_is_known_by_its_mounts_or_its_host_name(mountinfo, hostname, found):
    assert container_of(mountinfo, hostname) == found


def test_where_there_is_no_proc_the_host_name_is_all(monkeypatch, tmp_path):
    monkeypatch.setattr(own_networks, "_MOUNTINFO", tmp_path / "none")
    monkeypatch.setattr(own_networks.socket, "gethostname", lambda: "0123456789ab")
    assert own_container() == "0123456789ab"
