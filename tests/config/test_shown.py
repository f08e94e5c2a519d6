"""The configuration as it is shown: all that was loaded, and no secret."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_sd import own_docker
from swarm_sd.config import Config, ConfigError, load
from swarm_sd.config.complaints import Report
from swarm_sd.config.document import parse
from swarm_sd.config.shown import of_file, of_jobs
from swarm_sd.provider import SDConfig
from swarm_sd.scalars import Secret

ROOT = Path(__file__).parents[2]

SECRETS = {
    "basic auth": "remote_write: [{url: http://x, basic_auth: {username: me, password: hunter2}}]",
    "authorization": "alerting: {alertmanagers: [{authorization: {type: Bearer, credentials: hunter2}}]}",
    "a bearer token": "remote_read: [{url: http://x, bearer_token: hunter2}]",
    "oauth2": "remote_write: [{oauth2: {client_id: me, client_secret: hunter2, token_url: http://t}}]",
    "a key": "remote_write: [{tls_config: {key: 'hunter2\n\n  x'}}]",
    "sigv4": "remote_write: [{sigv4: {access_key: me, secret_key: hunter2}}]",
    "azure": "remote_write: [{azuread: {oauth: {client_secret: hunter2}}}]",
    "headers": "remote_write: [{headers: {X-Key: hunter2}}]",
    "secret headers": "remote_write: [{http_headers: {X-Key: {values: [a], secrets: [hunter2, b]}}}]",
    "a proxy's headers": "remote_write: [{proxy_connect_header: {Proxy-Authorization: [hunter2]}}]",
    "a proxy's password": "remote_write: [{proxy_url: 'http://me:hunter2@proxy:3128'}]",
    "a password of an odd URL": "remote_write: [{url: 'http://me:hunt@er/hunter2@x/'}]",
    "a token in a query": "remote_write: [{url: 'http://x/?a=1&api_token=hunter2&b=2'}]",
    "consul": "scrape_configs: [{job_name: a, consul_sd_configs: [{server: x, token: hunter2}]}]",
    "openstack": (
        "scrape_configs: [{job_name: a, openstack_sd_configs: [{application_credential_secret: hunter2}]}]"
    ),
    "ovhcloud": "scrape_configs: [{job_name: a, ovhcloud_sd_configs: [{consumer_key: hunter2}]}]",
    "marathon": "scrape_configs: [{job_name: a, marathon_sd_configs: [{auth_token: hunter2}]}]",
    "tracing": "tracing: {endpoint: x, headers: {authorization: hunter2}}",
    "a master": "scrape_configs: [{job_name: a, swarm_sd_configs: [{masters: ['http://me:hunter2@m:1']}]}]",
    "a master alone": "scrape_configs: [{job_name: a, swarm_sd_configs: [{masters: ['me:hunter2@m:1']}]}]",
    "our own": "scrape_configs: [{job_name: a, dockerswarm_sd_configs: [{bearer_token: hunter2}]}]",
    "an alias": "remote_write: [{bearer_token: &it hunter2, name: *it}]",
    "what an alias makes a secret": "remote_write: [{name: &it hunter2, bearer_token: *it}]",
    "a merge": "remote_write: [{<<: {bearer_token: hunter2}}]",
    "a comment": "# hunter2\nremote_write: [{bearer_token: a}] # it was hunter2",
    "binary": "remote_write: [{bearer_token: !!binary hunter2=}]",
}


def shown(text, known=None):
    report = Report()
    document = parse(text, Path("x.yml"), "x.yml", report)
    assert document is not None, report
    return of_file(document, [], {} if known is None else known)


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_shown_as_such(text):
    made = shown(text)
    assert "hunter2" not in made
    assert "<secret>" in made


def test_what_is_no_secret_is_shown():
    text = """
scrape_configs:
- job_name: "x: y"
  metrics_path: ''
  params: {match: ['{a="b"}']}
  oauth2: {client_id: me, client_secret_file: /f, token_url: http://t/x}
  basic_auth: {username: me, password_file: /run/secrets/x, password: ""}
  http_headers: {X: {values: [a], files: [/f]}}
  honor_labels: yes
  sample_limit: 0x10
  scrape_interval:
"""
    assert (
        shown(text)
        == """\
scrape_configs:
- job_name: "x: y"
  metrics_path: ""
  params:
    match:
    - "{a=\\"b\\"}"
  oauth2:
    client_id: me
    client_secret_file: /f
    token_url: http://t/x
  basic_auth:
    username: me
    password_file: /run/secrets/x
    password: ""
  http_headers:
    X:
      values:
      - a
      files:
      - /f
  honor_labels: yes
  sample_limit: 0x10
  scrape_interval:
"""
    )


class SafeConfig(SDConfig, frozen=True, kw_only=True):
    kind = "safe"
    pin: Secret | None = None
    pins: dict[str, tuple[Secret, ...]] = msgspec.field(default_factory=dict)


def test_the_secrets_of_a_kind_of_another_package_are_known_by_their_type():
    text = "scrape_configs: [{pin: 1, safe_sd_configs: [{pin: hunter2, pins: {a: [hunter2]}, b: c}]}]"
    made = shown(text, {"safe": SafeConfig})
    assert "hunter2" not in made
    assert made.count("<secret>") == 2
    assert "- pin: 1\n" in made
    assert "b: c\n" in made


def taken(path):
    try:
        return bool(load(path).jobs)
    except ConfigError:
        return False


FILES = [*ROOT.glob("tests/fixtures/config/**/*.yml"), *ROOT.glob("examples/**/*.yml")]


def meaning(config: Config):
    """The jobs but for where their rules are written; secrets are equal."""
    return [
        (job.name, repr(job.sd_configs), [rule.config for rule in job.rules], job.defaults)
        for job in config.jobs
    ]


@pytest.mark.parametrize(
    "file",
    [file for file in sorted(FILES) if taken(file)],
    ids=lambda file: file.relative_to(ROOT).as_posix(),
)
def test_what_is_shown_means_what_was_loaded(file, tmp_path):
    (tmp_path / "written.yml").write_bytes(file.read_bytes())
    config = load(tmp_path / "written.yml")
    (tmp_path / "shown.yml").write_text(config.shown())
    assert meaning(load(tmp_path / "shown.yml")) == meaning(config)


def test_what_was_loaded_is_shown_and_not_what_the_file_says_now(tmp_path):
    file = tmp_path / "prometheus.yml"
    file.write_text("scrape_configs: [{job_name: before}]\n")
    config = load(file)
    file.write_text("scrape_configs: [{job_name: after}]\n")
    assert config.shown() == "scrape_configs:\n- job_name: before\n"


def test_included_files_follow_with_their_names(tmp_path):
    (tmp_path / "more.yml").write_text("scrape_configs: [{job_name: b, bearer_token: hunter2}]\n")
    (tmp_path / "empty.yml").write_text("\n")
    file = tmp_path / "prometheus.yml"
    file.write_text("scrape_config_files: ['[em]*.yml']\n")
    _, empty, more = load(file).shown().split("---\n")
    assert empty == f"# '{tmp_path}/empty.yml'\n"
    assert more.startswith(f"# '{tmp_path}/more.yml'\nscrape_configs:\n- job_name: b\n  bearer_token: <sec")


def test_the_jobs_of_docker_are_shown_as_a_file_would_have_them(tmp_path):
    config = own_docker.containers({"DOCKER_HOST": "tcp://me:hunter2@h:1", "DOCKER_TLS_VERIFY": "1"})
    made = config.shown()
    assert "hunter2" not in made
    file = tmp_path / "prometheus.yml"
    file.write_text(made)
    assert meaning(load(file)) == meaning(config)
    assert made == of_jobs(config.jobs)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029"), max_size=20)


@given(texts, texts)
def test_any_text_comes_out_as_it_went_in(name, value):
    once = shown(
        f"rule_files: [{quoted(value)}]\nglobal: {{external_labels: {{{quoted(name)}: {quoted(value)}}}}}"
    )
    assert shown(once) == once


def quoted(text):
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'
