/* The nodes of the manager itself. */
import { raftActions, setMembers } from "./act.js";
import { actions } from "./dialog.js";
import { h } from "./dom.js";
import { bytes, name, plural, seconds, sign } from "./words.js";

export function raftView() {
  return {
    name: "raft",
    resources: { raft: { path: "/raft/status" }, health: { path: "/health", accepts: [503] } },
    title: () => "Raft",
    draw: ({ raft }) => (raft ? page(raft) : h("p", { class: "quiet" }, "Loading …")),
  };
}

function page(raft) {
  const answering = raft.nodes.filter((each) => !each.error);
  const leader = answering.find((each) => each.role === "leader");
  const seen = leader || answering[0];
  const acts = raftActions();
  setMembers((seen?.members || []).map((each) => each.address));
  const alarms = answering.filter((each) => each.alarm);
  return [
    h("div", { class: "bar" },
      h("p", { class: "summary" }, leader ? sign("good", `${leader.id} leads`) : sign("critical", "no node leads"), leader ? `, term ${leader.term}, lease ${leader.lease_left_s > 0 ? `${leader.lease_left_s.toFixed(1)} s left` : "run out"}. ` : ". ",
        answering.length === raft.nodes.length ? `All ${plural(raft.nodes.length, "node")} answer.` : sign("critical", `${raft.nodes.length - answering.length} of ${raft.nodes.length} nodes do not answer`)),
      actions([acts.transfer(""), acts.add])),
    alarms.map((each) => h("p", { key: each.id, class: "banner critical" }, h("strong", {}, sign("critical", `${each.id}:`)), ` ${each.alarm}`)),
    h("div", { class: "nodes" }, raft.nodes.map((each) => (each.error ? silent(each) : node(each, leader, seen, raft)))),
    seen && members(seen, acts),
    seen?.refused?.length ? h("section", { class: "card" }, h("h2", {}, "Connections refused lately"), h("ul", {}, seen.refused.map((each, i) => h("li", { key: i }, `${each.origin}: ${each.reason}, ${seconds(each.ago_s)} ago`)))) : "",
  ];
}

function silent(node) {
  return h("section", { class: "card node critical", key: node.id }, h("h2", {}, name(node.id)), h("p", {}, sign("critical", "does not answer")), h("p", { class: "quiet" }, node.error));
}

function node(each, leader, seen, raft) {
  const behind = leader ? leader.commit_index - each.applied_index : 0;
  const digest = (each.digest || "").slice(0, 12);
  const equal = leader && each.applied_index === leader.applied_index ? each.digest === leader.digest : null;
  const lines = [
    ["Term", each.term], ["Applied", [`${each.applied_index}`, behind > 0 ? h("span", { class: "under quiet" }, `${behind} behind`) : ""]], ["On disk up to", each.synced_index],
    ["State", equal === null ? h("code", {}, digest) : equal ? [h("code", {}, digest), " same as the leader's"] : sign("critical", "differs from the leader's")],
    ["Journal", `${each.journal_entries} entries, ${bytes(each.journal_bytes)}`], ["Snapshot", each.snapshot_index === null ? "none yet" : `at ${each.snapshot_index}, ${bytes(each.snapshot_bytes)}${each.snapshot_age_s !== null ? `, ${seconds(each.snapshot_age_s)} old` : ""}`],
    ["Store", bytes(each.store_bytes)], ["Disk free", bytes(each.disk_free_bytes)], ["Version", each.version],
  ];
  const kind = { leader: "good", follower: "good", candidate: "warning", stopped: "critical" }[each.role];
  return h("section", { class: `card node ${kind}`, key: each.id }, h("h2", {}, name(each.id), raft.asked === each.id ? h("span", { class: "chip" }, "this node") : ""), h("p", {}, sign(kind, each.role)), each.failure && h("p", { class: "bad" }, each.failure),
    h("dl", {}, lines.map(([term, value]) => h("div", { key: term }, h("dt", {}, term), h("dd", {}, value)))));
}

function members(seen, acts) {
  const heads = ["Member", "Connection", "Last heard", "Round trip", "Has up to", "Votes", ""];
  return h("section", { class: "card wide" }, h("h2", {}, `Members, as ${name(seen.id)} sees them`), h("table", {},
    h("thead", {}, h("tr", {}, heads.map((each) => h("th", { key: each, scope: "col" }, each || h("span", { class: "unseen" }, "What can be done"))))),
    h("tbody", {}, seen.members.map((each) => h("tr", { key: each.id },
      h("th", { scope: "row" }, h("span", { class: "address" }, each.address), each.note && h("span", { class: "under quiet" }, each.note)),
      h("td", { "data-label": "Connection" }, each.is_self ? sign("good", "itself") : each.is_connected ? sign("good", "connected") : [sign("critical", "none"), h("span", { class: "under" }, each.problem)]),
      h("td", { "data-label": "Last heard", class: "number" }, each.last_contact_s === null ? "never" : `${seconds(each.last_contact_s)} ago`),
      h("td", { "data-label": "Round trip", class: "number" }, each.is_self || each.round_trip_s === null ? "–" : `${(each.round_trip_s * 1000).toFixed(1)} ms`),
      h("td", { "data-label": "Has up to", class: "number" }, each.match_index ?? "–"),
      h("td", { "data-label": "Votes" }, each.votes ? "yes" : "not yet"),
      h("td", {}, actions([...(each.votes && seen.leader !== each.id ? [acts.transfer(each.address)] : []), acts.remove(each.address)])))))));
}
