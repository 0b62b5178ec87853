"""What nodes know beside the replicated state: figures of probes, changes of analysis, names; and who leads."""

from __future__ import annotations

import dataclasses

from orchestrator_raft.core.instance import InstanceKey, Reached, Unreachable, UnreachableKind
from orchestrator_raft.core.policy import ClusterFilters
from orchestrator_raft.engine.clock import SystemClock
from orchestrator_raft.engine.figures import PROBES_MAX, Figures
from tests.engine.fleet import key, primary_facts
from tests.rest.rig import POLICY, Rig
from tests.rest.test_access import BOSS, MULTI, READER

WATCHED = dataclasses.replace(POLICY, recover_primary=ClusterFilters(()))


async def test_probes_are_shown_one_by_one_and_taken_together_on_any_node() -> None:
    async with Rig(2, policy=WATCHED) as rig:
        await rig.discovered()
        rig.first.prober.crash(24003)
        await rig.until(lambda: rig.first.engine.figures.probes_failed > 0)
        get = rig["n2"].get
        raw = (await get("/api/discovery-metrics-raw/60")).json
        assert {each["Port"] for each in raw} == {24000, 24001, 24002, 24003}
        assert all(each["TotalLatencySeconds"] >= 0 for each in raw)
        assert {each["Port"] for each in raw if each["Err"] is not None} == {24003}
        taken = (await get("/api/discovery-metrics-aggregated/60")).json
        assert (taken["CountDistinctInstanceKeys"], taken["CountDistinctFailedInstanceKeys"]) == (4, 1)
        assert taken["SuccessfulDiscoveries"] >= 4 and taken["FailedDiscoveries"] >= 1
        assert taken["MeanTotalSeconds"] <= taken["P95TotalSeconds"] <= taken["MaxTotalSeconds"]
        queue = (await get("/api/discovery-queue-metrics-raw/DEFAULT/60")).json
        assert queue and set(queue[0]) == {"Active", "Queued"}
        wrong = await get("/api/discovery-metrics-raw/many")
        assert (wrong.status, wrong.json["Code"]) == (500, "ERROR") and "(seconds)" in wrong.message


def test_figures_are_bounded() -> None:
    figures = Figures(SystemClock(), samples_max=5)
    facts = primary_facts(key(1))
    for _ in range(PROBES_MAX):
        figures.probed(key(1), Reached(facts), 0.001)
    figures.probed(key(1), Unreachable(key(1), UnreachableKind.REFUSED, "refused"), 0.001)
    for number in range(9):
        figures.sample(number, 0)
    assert len(figures.probes(60)) <= PROBES_MAX
    assert (figures.probes_made, figures.probes_failed) == (PROBES_MAX + 1, 1)
    assert [each.active for each in figures.samples(60)] == [4, 5, 6, 7, 8]


async def test_changes_of_analysis_are_told_with_their_time() -> None:
    async with Rig(policy=WATCHED) as rig:
        await rig.discovered()

        async def codes() -> list[str]:
            shown = (await rig.first.get("/api/replication-analysis-changelog")).json or []
            mine = [each["Changelog"] for each in shown if each["AnalyzedInstanceKey"]["Port"] == 24000]
            return [text.partition(";")[2].partition(",")[0] for text in (mine[0] if mine else [])]

        rig.first.prober.crash(24000)
        await rig.until(lambda: any("DeadMaster" == each.subject.code for each in rig.raft.state.detections))
        found = await codes()
        assert found[0] == "NoProblem" and "DeadMaster" in found


async def test_a_server_is_resolved_by_connecting_to_it() -> None:
    async with Rig(policy=WATCHED) as rig:
        await rig.discovered()
        found = await rig.first.get("/api/resolve/127.0.0.1/24001")
        assert (found.message, found.json["Details"]["Port"]) == ("Instance resolved", 24001)
        rig.first.prober.crash(24001, UnreachableKind.REFUSED)
        gone = await rig.first.get("/api/resolve/127.0.0.1/24001")
        assert (gone.status, gone.json["Code"]) == (500, "ERROR") and "refused" in gone.message


async def test_who_may_only_read_cannot_have_the_leader_log_in_at_an_unknown_address() -> None:
    async with Rig(2, policy=WATCHED, settings=MULTI) as rig:
        leader = rig.first.prober
        dialled: list[InstanceKey] = []
        connect = leader.try_connect

        async def noted(key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
            dialled.append(key)
            return await connect(key, timeout_s=timeout_s)

        await rig.until(lambda: rig.first.service.may_act)
        assert (await rig.first.get("/api/discover/127.0.0.1/24000", headers=BOSS)).status == 200
        await rig.until(lambda: set(rig.raft.state.servers) == set(rig.fleet.servers))
        leader.try_connect = noted  # type: ignore[method-assign]
        for node in ("n1", "n2"):
            refused = await rig[node].get("/api/resolve/127.0.0.9/24009", headers=READER)
            assert refused.status == 500 and "127.0.0.9:24009 is no known server" in refused.message
        assert not [each for each in dialled if each.hostname == "127.0.0.9"]
        assert (await rig["n2"].get("/api/resolve/127.0.0.1/24001", headers=READER)).message == "Instance resolved"
        await rig["n2"].get("/api/resolve/127.0.0.9/24009", headers=BOSS)
        assert [each for each in dialled if each.hostname == "127.0.0.9"]


async def test_another_node_leads_after_a_reelection_asked_for_anywhere() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        before = rig.raft.leader
        answer = await rig["n3"].get("/api/reelect")
        assert (answer.status, answer.message) == (200, "Set re-elections")
        assert rig.raft.leader not in (None, before)
        refused = await rig["n3"].get("/api/grab-election")
        assert refused.status == 500 and refused.message.startswith("Unable to grab election: ")


async def test_a_node_reads_its_configuration_again_and_says_what_needs_a_restart() -> None:
    async with Rig() as rig:
        answer = await rig.first.get("/api/reload-configuration?config=orchestrator.conf.json")
        assert (answer.status, answer.json["Details"]) == (200, "orchestrator.conf.json")
        assert answer.message.startswith("Config reloaded") and "restart: ListenAddress" in answer.message
        other = await rig.first.get("/api/reload-configuration?config=/etc/other.json")
        assert other.status == 500 and "this node reads orchestrator.conf.json" in other.message
        assert rig.first.reload.count == 1, "what is refused was not done either"
        native = await rig.first.ask("POST", "/api/v2/configuration/reload")
        assert native.json["result"]["need_restart"] == ["ListenAddress"]


async def test_a_policy_that_was_read_again_counts_at_once() -> None:
    async with Rig(2, policy=WATCHED) as rig:
        await rig.discovered()
        rig.first.prober.crash(24000)
        await rig.until(lambda: bool(rig.raft.state.detections))
        assert rig.raft.state.recoveries == {}
        for node in rig.nodes.values():
            node.engine.use_policy(POLICY)
        await rig.until(lambda: bool(rig.raft.state.recoveries))
        assert rig["n2"].service.desk.moment().policy is POLICY


async def test_no_resolved_name_is_kept() -> None:
    async with Rig() as rig:
        assert (await rig.first.get("/api/hostname-resolve-cache")).json["Details"] == {}
        assert (await rig.first.get("/api/reset-hostname-resolve-cache")).message == "Hostname cache cleared"
