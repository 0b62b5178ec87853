"""A change of source keeps every option of a channel: read, point elsewhere, read again, equal (users lose TLS so).

Options are set by the server's own CHANGE statement, in many combinations; the channel is never started, so files and
algorithms need not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.instance import Channel, InstanceKey
from orchestrator_raft.core.recovery.steps import PointTo, ResetReplication
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.plan_runner import ACCOUNT, facts_of, key_of, perform

Terms = Mapping[str, str]


def texts(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from([f"'{value}'" for value in values])


ON_OFF = st.sampled_from(["0", "1"])
PATHS = texts("", "/etc/mysql/tls/ca.pem", "/a path/it''s.pem", "C:\\\\\\\\tls")
MYSQL: dict[str, st.SearchStrategy[str]] = {
    "SOURCE_SSL": ON_OFF,
    "SOURCE_SSL_CA": PATHS,
    "SOURCE_SSL_CAPATH": PATHS,
    "SOURCE_SSL_CERT": PATHS,
    "SOURCE_SSL_KEY": PATHS,
    "SOURCE_SSL_CRL": PATHS,
    "SOURCE_SSL_CRLPATH": PATHS,
    "SOURCE_SSL_CIPHER": texts("", "ECDHE-RSA-AES256-GCM-SHA384"),
    "SOURCE_SSL_VERIFY_SERVER_CERT": ON_OFF,
    "SOURCE_TLS_VERSION": texts("", "TLSv1.3", "TLSv1.2,TLSv1.3"),
    "SOURCE_TLS_CIPHERSUITES": texts("", "TLS_AES_256_GCM_SHA384"),
    "SOURCE_PUBLIC_KEY_PATH": texts("", "/etc/key.pem"),
    "SOURCE_CONNECT_RETRY": st.sampled_from(["1", "60", "3600"]),
    "SOURCE_RETRY_COUNT": st.sampled_from(["0", "10", "86400"]),
    "SOURCE_HEARTBEAT_PERIOD": st.sampled_from(["0", "0.001", "1.5", "30"]),
    "SOURCE_DELAY": st.sampled_from(["0", "3600"]),
    "SOURCE_BIND": texts("", "127.0.0.1"),
    "SOURCE_COMPRESSION_ALGORITHMS": texts("uncompressed", "zstd", "zstd,zlib,uncompressed"),
    "SOURCE_ZSTD_COMPRESSION_LEVEL": st.sampled_from(["1", "3", "22"]),
    "REQUIRE_TABLE_PRIMARY_KEY_CHECK": st.sampled_from(["STREAM", "ON", "OFF", "GENERATE"]),
    "REQUIRE_ROW_FORMAT": ON_OFF,
    "PRIVILEGE_CHECKS_USER": st.sampled_from(["NULL", "'app'@'%'"]),
    "SOURCE_CONNECTION_AUTO_FAILOVER": ON_OFF,
}
MARIADB: dict[str, st.SearchStrategy[str]] = {
    "MASTER_SSL": ON_OFF,
    "MASTER_SSL_CA": PATHS,
    "MASTER_SSL_CAPATH": PATHS,
    "MASTER_SSL_CERT": PATHS,
    "MASTER_SSL_KEY": PATHS,
    "MASTER_SSL_CRL": PATHS,
    "MASTER_SSL_CRLPATH": PATHS,
    "MASTER_SSL_CIPHER": texts("", "ECDHE-RSA-AES256-GCM-SHA384"),
    "MASTER_SSL_VERIFY_SERVER_CERT": ON_OFF,
    "MASTER_CONNECT_RETRY": st.sampled_from(["1", "60", "3600"]),
    "MASTER_HEARTBEAT_PERIOD": st.sampled_from(["0", "0.001", "1.5", "30"]),
    "MASTER_DELAY": st.sampled_from(["0", "3600"]),
    "IGNORE_SERVER_IDS": st.sampled_from(["()", "(5)", "(5, 6)"]),
    "DO_DOMAIN_IDS": st.sampled_from(["()", "(0, 3)"]),
    "IGNORE_DOMAIN_IDS": st.just("()"),
}
ELSEWHERE = InstanceKey("127.0.0.1", 21999)


@pytest.fixture
def stopped(topology: Topology) -> Iterator[Server]:
    """A replica whose channel does not run."""
    replica = topology.servers[2]
    replica.execute("STOP REPLICA")
    yield replica
    topology.point(replica, topology.servers[0])


def change(replica: Server, flavor: Flavor, terms: Terms) -> None:
    verb = "CHANGE REPLICATION SOURCE TO" if flavor is Flavor.MYSQL else "CHANGE MASTER TO"
    written = {**terms, "GET_SOURCE_PUBLIC_KEY": "1"} if flavor is Flavor.MYSQL else terms
    replica.execute(f"{verb} {', '.join(f'{name} = {value}' for name, value in written.items())}")


async def channel_of(server: Server) -> Channel:
    channel = (await facts_of(server)).channel
    assert channel is not None
    return channel


async def there_and_back(replica: Server, source: InstanceKey) -> None:
    """The channel moves and moves back, then it is made anew from the options alone."""
    before = await channel_of(replica)
    for target in (ELSEWHERE, source):
        await perform(PointTo(key=key_of(replica), source=target, start=False), replica)
        after = await channel_of(replica)
        assert (after.source, after.uses_gtid) == (target, True)
        assert after.options == before.options
    await perform(ResetReplication(key=key_of(replica)), replica)
    anew = PointTo(key=key_of(replica), source=source, options=before.options, start=False)
    await perform(anew, replica, ACCOUNT)
    made = await channel_of(replica)
    carried = {option.name: option.value for option in before.options if option.name != "SOURCE_BIND"}
    assert {option.name: option.value for option in made.options if option.name != "SOURCE_BIND"} == carried


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_option_survives(topology: Topology, stopped: Server, data: st.DataObject) -> None:
    terms = data.draw(st.fixed_dictionaries(MYSQL if topology.flavor is Flavor.MYSQL else MARIADB))
    change(stopped, topology.flavor, terms)
    asyncio.run(there_and_back(stopped, key_of(topology.servers[0])))


async def test_without_tls_a_new_source_may_be_asked_for_its_public_key(mysql_topology: Topology) -> None:
    """Its cache does not know the account yet, so the login would fail until somebody logs in over TLS."""
    replica = mysql_topology.servers[1]
    replica.execute("STOP REPLICA")
    for _ in range(2):
        replica.execute("CHANGE REPLICATION SOURCE TO SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 0")
        await perform(PointTo(key=key_of(replica), source=ELSEWHERE, start=False), replica)
        options = {option.name: option.value for option in (await channel_of(replica)).options}
        assert (options["SOURCE_SSL"], options["GET_SOURCE_PUBLIC_KEY"]) == (0, 1)


async def test_replication_filters_stay(topology: Topology) -> None:
    replica = topology.servers[1]
    replica.execute("STOP REPLICA")
    if topology.flavor is Flavor.MYSQL:
        replica.execute("CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (scratch)")
    else:
        replica.execute("SET GLOBAL replicate_ignore_db = 'scratch'")
    await perform(PointTo(key=key_of(replica), source=ELSEWHERE, start=False), replica)
    assert (await channel_of(replica)).has_filters
