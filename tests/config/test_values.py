"""Single values: what is refused and in which words, what is accepted and what it means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator_raft.config import Address, Loaded
from orchestrator_raft.config.values import parse_address
from orchestrator_raft.core.instance import InstanceKey

Load = Callable[..., Loaded]
Problems = Callable[..., list[str]]

WRONG = [
    ("InstancePollSeconds", "5", 'is "5", must be a whole number from 1 to 3600000000, without quotes'),
    ("InstancePollSeconds", 0, "is 0, must be a whole number from 1 to 3600000000"),
    ("InstancePollSeconds", 5.0, "is 5.0, must be a whole number from 1 to 3600000000"),
    ("InstancePollSeconds", True, "is true, must be a whole number from 1 to 3600000000"),
    ("InstancePollSeconds", 10**30, f"is {10**30}, must be a whole number from 1 to 3600000000"),
    ("MySQLConnectTimeoutSeconds", 0, "is 0, must be a whole number from 1 to 3600000000"),
    ("RecoveryPeriodBlockSeconds", -1, "is -1, must be a whole number from 0 to 3600000000"),
    ("DefaultRaftPort", 70000, "is 70000, must be a whole number from 1 to 65535"),
    ("DeadInstancePollSecondsMultiplyFactor", 0.5, "is 0.5, must be a number from 1 to 1000"),
    ("DeadInstancePollSecondsMultiplyFactor", "2", 'is "2", must be a number from 1 to 1000, without quotes'),
    ("RaftEnabled", "true", 'is "true", must be true or false, without quotes'),
    ("RaftEnabled", 1, "is 1, must be true or false"),
    ("RaftBind", 10008, "is 10008, must be a text"),
    ("RaftNodes", "a,b", 'is "a,b", must be a list of texts, in brackets: [...]'),
    ("RaftNodes", ["a", 1], 'is ["a", 1], must be a list of texts'),
    ("ClusterNameToAlias", ["a"], 'is ["a"], must be an object whose values are texts'),
    ("ClusterNameToAlias", {"a": 1}, 'is {"a": 1}, must be an object whose values are texts'),
    ("HostnameResolveMethod", "dns", 'is "dns", must be one of none, default, cname, ip'),
    ("MySQLHostnameResolveMethod", "@@ip", 'is "@@ip", must be one of none, @@hostname, @@report_host'),
    ("AuthenticationMethod", "basci", 'is "basci", must be one of "", basic, multi, proxy, token, oauth'),
    ("DataLossPolicy", "some", 'is "some", must be one of auto, none, seconds, any'),
    ("ListenAddress", "3000", '"3000" has no port: write host:port or :port'),
    ("ListenAddress", "", '"" is no address: write host:port, an IPv6 address as [address]:port'),
    ("ListenAddress", ":0", '":0" has a port outside 1 to 65535'),
    ("ListenAddress", ":http", '":http" is no address: write host:port, an IPv6 address as [address]:port'),
    ("RaftBind", "a b", '"a b" is no address: write host:port, an IPv6 address as [address]:port'),
    ("RaftAdvertise", "0.0.0.0", '"0.0.0.0" names no host that another node could dial: write host:port'),
    (
        "RaftNodes",
        ["a", ":1"],
        ('["a", ":1"] has the entry ":1", which names no host that another node could dial: write host:port'),
    ),
    ("RaftNodes", [""], '[""] has the entry "", which is empty'),
    (
        "DiscoverySeeds",
        ["a:x"],
        '["a:x"] has the entry "a:x", which is no server address: write host:port, [address]:port for IPv6',
    ),
    ("HTTPAdvertise", "node:3000", '"node:3000" has no host and no port: write http://host:port without a path'),
    ("HTTPAdvertise", "//node:3000", '"//node:3000" has no scheme: write http://host:port without a path'),
    ("HTTPAdvertise", "http://:3000", '"http://:3000" has no host: write http://host:port without a path'),
    ("HTTPAdvertise", "http://node", '"http://node" has no port: write http://host:port without a path'),
    (
        "HTTPAdvertise",
        "http://node:3000/",
        ('"http://node:3000/" has something after the port: write http://host:port without a path'),
    ),
    (
        "HTTPAdvertise",
        "ftp://node:3000",
        ('"ftp://node:3000" has the scheme ftp: write http://host:port without a path, or https'),
    ),
    (
        "HTTPAdvertise",
        "http://node:99999",
        '"http://node:99999" is no URL with a port of 1 to 65535: write http://host:port without a path',
    ),
    (
        "HTTPAdvertise",
        "http://u:p@node:3000",
        ('"http://***@node:3000" must not hold credentials, every node sees it: write http://host:port without a path'),
    ),
    ("DataCenterPattern", "[.]dc", '"[.]dc" has no group: put ( ) around the part of the host name that is wanted'),
    (
        "DataCenterPattern",
        "(",
        ('"(" has the regex "(", which Python\'s re refuses: missing ), unterminated subpattern at position 0'),
    ),
    (
        "RejectHostnameResolvePattern",
        "[",
        ('"[" has the regex "[", which Python\'s re refuses: unterminated character set at position 0'),
    ),
    (
        "RejectHostnameResolvePattern",
        "[[:alpha:]]",
        ('"[[:alpha:]]" has the regex "[[:alpha:]]", which Python\'s re refuses: Possible nested set at position 1'),
    ),
    (
        "RecoveryIgnoreHostnameFilters",
        ["a", "*b"],
        ('["a", "*b"] has the regex "*b", which Python\'s re refuses: nothing to repeat at position 0'),
    ),
    (
        "RecoveryIgnoreHostnameFilters",
        [""],
        ('[""] has an empty regex, which matches every server: remove it, or write ".*" if meant'),
    ),
    (
        "ClusterNameToAlias",
        {"(": "a"},
        ('{"(": "a"} has the regex "(", which Python\'s re refuses: missing ), unterminated subpattern at position 0'),
    ),
    (
        "RecoverMasterClusterFilters",
        [""],
        ('[""] has an empty entry, which matches every cluster: remove it, or write "*" if meant'),
    ),
    (
        "RecoverMasterClusterFilters",
        ["alias~=("],
        (
            '["alias~=("] has the regex "(", which Python\'s re refuses: missing '
            "), unterminated subpattern at position 0; write * for every cluster, alias=NAME for an exact alias"
        ),
    ),
    (
        "RecoverIntermediateMasterClusterFilters",
        ["*prod"],
        (
            '["*prod"] has the regex "*prod", which Python\'s re '
            "refuses: nothing to repeat at position 0; write * for every cluster, alias=NAME for an exact alias"
        ),
    ),
]


@pytest.mark.parametrize(("name", "value", "line"), WRONG)
def test_a_wrong_value_is_one_line_with_key_value_and_what_is_allowed(
    problems: Problems, name: str, value: Any, line: str
) -> None:
    assert [f"{name}: {line}"] == problems({name: value})


def test_all_wrong_values_are_told_at_once(problems: Problems) -> None:
    lines = problems({"InstancePollSeconds": "5", "RaftBind": 1, "ListenAddress": "x", "DataCenterPattern": "("})
    assert ["InstancePollSeconds", "RaftBind", "ListenAddress", "DataCenterPattern"] == [
        line.partition(":")[0] for line in lines
    ]


def test_a_value_that_is_not_printable_or_very_long_stays_one_short_line(problems: Problems) -> None:
    (line,) = problems({"ListenAddress": "a\x1b[31m\u2028\u202e" + "x" * 500})
    assert line.startswith('ListenAddress: "a\\u001b[31m\\u2028\\u202exxx') and "xxx... is no address" in line
    assert line.isprintable() and len(line) < 200


def test_the_key_is_named_as_it_is_known_not_as_it_was_typed(problems: Problems) -> None:
    assert problems({"instancepollseconds": -1})[0].startswith("InstancePollSeconds: is -1")


def test_a_wrong_type_in_a_key_without_effect_is_an_error_too(problems: Problems) -> None:
    assert ["AgentPollMinutes: is true, must be a whole number"] == problems({"AgentPollMinutes": True})
    assert ['SlaveLagQuery: is 5, must be a text'] == problems({"SlaveLagQuery": 5})  # fmt: skip


@pytest.mark.parametrize(
    ("text", "default_port", "expected"),
    [
        (":3000", None, Address(None, 3000)),
        ("db:3000", None, Address("db", 3000)),
        ("db", 10008, Address("db", 10008)),
        ("", 10008, None),
        ("[::1]:3000", None, Address("::1", 3000)),
        ("[fe80::1%eth0]:1", None, Address("fe80::1%eth0", 1)),
        ("[::1]", 7, Address("::1", 7)),
        ("::1", 7, Address("::1", 7)),
        ("::1", None, None),
        ("a:b:c", 7, None),
        ("db:3000\n", None, None),
        ("db:٣", None, None),
    ],
)
def test_addresses(text: str, default_port: int | None, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="is no address"):
            parse_address(text, default_port)
    else:
        assert expected == parse_address(text, default_port)


def test_an_address_prints_as_it_is_dialled() -> None:
    assert [":3000", "db:1", "[::1]:2"] == [str(Address(None, 3000)), str(Address("db", 1)), str(Address("::1", 2))]


def test_parsed_values_know_their_default_ports(load_values: Load) -> None:
    settings = load_values(
        ListenAddress="127.0.0.2:3001", RaftBind="a", RaftNodes=["a", "b:5", "::1"], DefaultRaftPort=7,
        DiscoverySeeds=["db1", "db2:3307", "[::1]:1"], DefaultInstancePort=3310,
    ).settings  # fmt: skip
    assert Address("127.0.0.2", 3001) == settings.listen
    assert Address("a", 7) == settings.raft_bind_address == settings.raft_advertise_address
    assert (Address("a", 7), Address("b", 5), Address("::1", 7)) == settings.raft_node_addresses
    assert (InstanceKey("db1", 3310), InstanceKey("db2", 3307), InstanceKey("::1", 1)) == settings.discovery_seed_keys


@pytest.mark.parametrize(
    ("name", "field", "given", "meant"),
    [
        ("HostnameResolveMethod", "hostname_resolve_method", "CNAME", "cname"),
        ("HostnameResolveMethod", "hostname_resolve_method", "", "none"),
        ("MySQLHostnameResolveMethod", "mysql_hostname_resolve_method", "", "none"),
        ("MySQLHostnameResolveMethod", "mysql_hostname_resolve_method", "Report_Host", "@@report_host"),
        ("AuthenticationMethod", "authentication_method", "None", ""),
        ("DataLossPolicy", "data_loss_policy", "ANY", "any"),
        ("URLPrefix", "url_prefix", "//orc/x/", "/orc/x"),
        ("URLPrefix", "url_prefix", "/", ""),
        ("KVClusterMasterPrefix", "kv_cluster_master_prefix", "a/b//", "a/b/"),
        ("KVClusterMasterPrefix", "kv_cluster_master_prefix", "/", "/"),
        ("DeadInstancePollSecondsMultiplyFactor", "dead_instance_poll_seconds_multiply_factor", 2, 2.0),
        ("DataCenterPattern", "data_center_pattern", "", ""),
        ("HTTPAdvertise", "http_advertise", "https://[::1]:3000", "https://[::1]:3000"),
        ("RecoverMasterClusterFilters", "recover_master_cluster_filters",
         ["*", "alias=a(", "alias~=^b", "c:3306", ".*"], ("*", "alias=a(", "alias~=^b", "c:3306", ".*")),
    ],
)  # fmt: skip
def test_spellings_that_the_peers_accept_mean_the_same(
    load_values: Load, name: str, field: str, given: Any, meant: Any
) -> None:
    assert meant == getattr(load_values({name: given}).settings, field)


def test_settings_do_not_change(load_values: Load) -> None:
    settings = load_values().settings
    with pytest.raises(ValueError, match="frozen"):
        settings.debug = True
