"""Metrics: what Prometheus parses, the same of the fleet on every node, and what changes when something happens."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from api.metrics import measured
from api.settings import ApiSettings, AuthenticationMethod
from tests.rest.rig import Got, Rig

PREFIX = "orchestrator_raft_"


def values(got: Got) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels, which come in the order of their names."""
    assert got.status == 200
    assert got.headers["Content-Type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(got.body.decode()):
        for sample in family.samples:
            found[sample.name.removeprefix(PREFIX), *sample.labels.values()] = sample.value
    return found


async def test_every_node_tells_of_the_fleet_and_of_itself() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        await rig.until(lambda: all(len(node.service.sight.newest.glimpses) == 4 for node in rig.nodes.values()))
        leader, follower = values(await rig["n1"].get("/metrics")), values(await rig["n2"].get("/metrics"))
        assert (leader["leads",], follower["leads",]) == (1, 0)
        assert leader["probes_total",] >= 4 and follower["probes_total",] == 0
        for name in (("servers", "bench", "yes"), ("primary_reachable", "bench", "127.0.0.1:24000")):
            assert leader[name] == follower[name]
        assert leader["servers", "bench", "yes"] == 4
        assert follower["replication_lag_seconds", "bench", "127.0.0.1:24001"] == 0
        assert follower["replicates", "bench", "127.0.0.1:24003"] == 1
        assert ("replicates", "bench", "127.0.0.1:24000") not in follower, "a primary replicates from nobody"
        assert leader["raft_role", "Leader"] == follower["raft_role", "Follower"] == 1
        assert leader["process_open_fds",] > 0
        assert rig.first.defects == []


async def test_a_failover_is_counted_everywhere() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        before = values(await rig["n3"].get("/metrics"))
        rig.first.prober.crash(24000)
        await rig.until(lambda: bool(rig.raft.state.recoveries) and not rig.raft.state.active_recoveries)
        after = values(await rig["n3"].get("/metrics"))
        assert after["recoveries_total",] == before["recoveries_total",] + 1
        assert after["recoveries_kept", "succeeded", "dead_primary"] == 1
        assert after["primary_changes_total", "bench"] == before["primary_changes_total", "bench"] + 1
        assert after["recoveries_unacknowledged",] == 1
        assert after["servers", "bench", "no"] == 1
        assert sum(value for name, value in after.items() if name[0] == "stale_primaries") == 1
        shown = (await rig["n3"].get("/debug/metrics")).json
        assert (shown["recover.dead_master.start"], shown["recover.dead_master.success"]) == (1, 1)
        assert list(shown) == sorted(shown)


async def test_labels_hold_whatever_a_cluster_is_called() -> None:
    async with Rig() as rig:
        await rig.discovered()
        named = await rig.first.ask("POST", "/api/v2/clusters/bench/alias", json={"alias": 'a"b\\c\n{}'})
        assert named.status == 200
        assert values(await rig.first.get("/metrics"))["servers", 'a"b\\c\n{}', "yes"] == 4


async def test_clusters_of_one_alias_are_counted_together() -> None:
    async with Rig() as rig:
        await rig.discovered()
        scene = rig.first.front._health_scene()
        [cluster] = scene.state.clusters.values()
        clusters = {
            name: replace(cluster, id=name, alias="shop", generation=generation)
            for name, generation in (("c1", 3), ("c2", 4))
        }
        both = replace(scene, state=replace(scene.state, clusters=clusters))
        [changes] = [each for each in measured(both, rig.first.service.figures) if each.name == "primary_changes"]
        assert tuple(changes.values) == ((("shop",), 7.0),)


async def test_metrics_are_for_those_who_are_let_in() -> None:
    settings = ApiSettings(authentication=AuthenticationMethod.BASIC, user="ann", password="secret")
    async with Rig(settings=settings) as rig:
        for path in ("/metrics", "/debug/metrics"):
            assert (await rig.first.get(path)).status == 401
