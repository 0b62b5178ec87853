/* What people can do, as rows: to whom it is offered, what is asked for, and which request it is.
 * What replaces a primary needs the cluster's name typed. */
import { change, path } from "./api.js";
import { isWriter, open } from "./dialog.js";
import { clusterName, name } from "./words.js";

const field = {
  owner: { name: "owner", label: "Who", required: true, value: "" },
  reason: { name: "reason", label: "Why", required: true, value: "" },
  comment: { name: "comment", label: "Comment", required: true, value: "" },
  duration: { name: "duration", label: "For how long (30s, 10m, 2h, 1d)", required: true, value: "10m", pattern: "[0-9]+[smhdw]" },
};

function simple(label, title, text, run, more = {}) {
  return [label, () => open({ title, text, label: label.replace(/ …$/, ""), run, ...more }), more.level || ""];
}

function at(server, verb) {
  return path`/servers/${server}` + verb;
}

export function serverActions(row, cluster, rows) {
  const server = row.server;
  const replica = row.source && !row.is_primary;
  const found = [];
  const add = (when, ...action) => when && found.push(simple(...action));
  if (replica && row.reached) found.push(["Make it the primary …", () => takeover(cluster, rows, server)]);
  if (row.is_primary) found.push(["Fail over …", () => failover(cluster), "danger"]);
  for (const each of MOVES) if (each.when(row, rows)) found.push([`${each.label} …`, () => move(row, null, cluster, rows, each)]);
  add(row.troubles.some((each) => each.repair), "Recover …", `Recover ${name(server)}`, row.troubles.find((each) => each.repair)?.repair, () => change("POST", at(server, "/recover")), { typeThis: clusterName(cluster), level: "danger" });
  add(!row.downtime, "Begin downtime …", `Downtime of ${name(server)}`, "Until it ends, problems of this server start no recovery.", (values) => change("POST", at(server, "/downtime"), values), { fields: [field.owner, field.reason, field.duration] });
  add(row.downtime, "End downtime …", `End the downtime of ${name(server)}`, "From then on its problems may start a recovery.", () => change("DELETE", at(server, "/downtime")));
  add(row.reached && row.read_only === false, "Set read-only …", `Set ${name(server)} read-only`, row.is_primary ? "It is the primary: clients' writes fail from then on." : "It takes no writes from then on.", () => change("POST", at(server, "/set-read-only")), row.is_primary ? { typeThis: clusterName(cluster), level: "danger" } : {});
  add(row.reached && row.read_only, "Set writable …", `Set ${name(server)} writable`, "It is refused where that would make a second primary.", () => change("POST", at(server, "/set-writable")));
  add(row.reached && row.receiver === "running", "Stop replication …", `Stop replication on ${name(server)}`, "It lags until it is started again.", () => change("POST", at(server, "/stop-replica")));
  add(row.reached && row.source && row.receiver !== "running", "Start replication …", `Start replication on ${name(server)}`, "", () => change("POST", at(server, "/start-replica")));
  add(true, "Probe now …", `Probe ${name(server)} now`, "It is asked at once, and what it says is recorded.", () => change("POST", at(server, "/refresh")));
  add(true, "Forget …", `Forget ${name(server)}`, "It is not watched any more. Nothing is changed on the server; it comes back if a server that is watched names it.", (values) => change("DELETE", at(server, ""), values.force ? { force: true } : {}), { level: "danger", fields: [{ name: "force", check: true, label: "also where its record is needed" }] });
  return found;
}

export function clusterActions(cluster, rows) {
  const found = [];
  const where = path`/clusters/${cluster.id}`;
  if (rows.some((each) => each.source && each.reached)) found.push(["Take over …", () => takeover(cluster, rows, "")]);
  if (cluster.primary) found.push(["Fail over …", () => failover(cluster), "danger"]);
  if (cluster.last && !cluster.last.is_acknowledged) found.push(simple("Acknowledge …", `Acknowledge the recoveries of ${clusterName(cluster)}`, "They block no other recovery any more.", (values) => change("POST", `${where}/acknowledge`, values), { fields: [field.comment] }));
  found.push(cluster.pause
    ? simple("Resume writes …", `Resume writes to ${clusterName(cluster)}`, "Recoveries and people may change its servers again.", () => change("DELETE", "/pauses", { cluster: cluster.id }))
    : simple("Pause writes …", `Pause writes to ${clusterName(cluster)}`, "Nobody changes its servers through this product until it is resumed: neither recoveries nor people. Clients of the databases notice nothing.", (values) => change("POST", "/pauses", { ...values, cluster: cluster.id }), { fields: [field.reason] }));
  return found;
}

function takeover(cluster, rows, target) {
  const fit = rows.filter((each) => each.source && each.reached && !each.stale);
  const where = path`/clusters/${cluster.id}/takeover`;
  const body = (values) => (values.target ? { target: values.target } : {});
  open({
    title: `Take over ${clusterName(cluster)}`, label: "Take over", typeThis: clusterName(cluster), text: "A replica becomes the primary in an orderly way; writes wait for a moment, and nothing is lost.",
    fields: [{ name: "target", label: "New primary", value: target, plans: true, options: [["", "the best replica"], ...fit.map((each) => [each.server, name(each.server, each.alias)])] }],
    run: (values) => change("POST", where, body(values)),
  });
}

function failover(cluster) {
  const where = path`/clusters/${cluster.id}/failover`;
  const body = (values) => (values.accept_loss ? { accept_loss: true } : {});
  open({
    title: `Fail over ${clusterName(cluster)}`, label: "Fail over", level: "danger", typeThis: clusterName(cluster),
    text: `The primary ${name(cluster.primary)} is treated as dead: it is fenced if it can be reached, and the best replica is promoted. For a primary that is well use Take over.`,
    fields: [{ name: "accept_loss", check: true, plans: true, label: "Promote even if acknowledged writes may be lost" }],
    run: (values) => change("POST", where, body(values)),
  });
}

const follows = (row) => row.source && row.reached;
const isFollowed = (row, rows) => rows.some((each) => each.source === row.server);
const BELOW = { label: "Move below", operation: "relocate", target: true, when: follows, text: "It is moved the cheapest safe way." };
/** Operations that give servers another source. Each is planned by the server before it is confirmed. */
const MOVES = [
  BELOW,
  { label: "Move up", operation: "move-up", when: (row, rows) => follows(row) && rows.some((each) => each.server === row.source && each.source), text: "It then replicates from the source of its source." },
  { label: "Take siblings", operation: "take-siblings", when: (row, rows) => follows(row) && rows.filter((each) => each.source === row.source).length > 1, text: "The other replicas of its source then replicate from it." },
  { label: "Move its replicas below", operation: "relocate-replicas", target: true, when: isFollowed, text: "Its direct replicas are moved, with whatever replicates from them." },
  { label: "Move its replicas up", operation: "move-up-replicas", when: (row, rows) => follows(row) && isFollowed(row, rows), text: "Its replicas then replicate from its own source." },
];

function move(row, target, cluster, rows, row_ = BELOW) {
  const others = rows.filter((each) => each.server !== row.server && each.reached && !each.stale);
  const where = at(row.server, `/${row_.operation}`);
  const body = (values) => (row_.target ? { target: values.target } : {});
  open({
    title: `${row_.label}: ${name(row.server, row.alias)}`, label: row_.label, text: `${row_.text}${row.source ? ` It replicates from ${name(row.source)} now.` : ""}`,
    fields: row_.target ? [{ name: "target", label: "Below", value: (target || others.find((each) => each.server !== row.source) || others[0])?.server || "", plans: true, required: true, options: others.map((each) => [each.server, name(each.server, each.alias)]) }] : [],
    run: (values) => change("POST", where, body(values)), ...planner(where, body),
  });
}

/** What the server would do, asked of it before anything is confirmed. */
function planner(where, body) {
  return { planOf: async (values) => (await change("POST", where, { ...body(values), dry_run: true })).value?.result };
}

/** A server was dropped onto another one. */
export function drop(moved, onto, cluster, rows) {
  if (isWriter()) move(moved, onto, cluster, rows);
}

export function openDiscover() {
  open({ title: "Discover a server", label: "Discover", text: "It is watched from now on, with the servers it replicates from and those that replicate from it.", fields: [{ name: "server", label: "Address, host:port", required: true, value: "", pattern: ".+:[0-9]+" }], run: (values) => change("POST", at(values.server.trim(), "/discover")) });
}

export function acknowledge(recovery) {
  return simple("Acknowledge …", `Acknowledge recovery ${recovery.number}`, "It blocks no other recovery any more.", (values) => change("POST", path`/recoveries/${recovery.id}/acknowledge`, values), { fields: [field.comment] });
}

export function fleetSwitches(fleet) {
  return [
    fleet.recoveries_disabled
      ? simple("Enable recoveries …", "Enable automatic recoveries", "From then on failures are recovered by themselves where the configuration says so.", () => change("POST", "/recoveries/enable"))
      : simple("Disable recoveries …", "Disable automatic recoveries", "Nothing is recovered by itself until they are enabled; people still can.", () => change("POST", "/recoveries/disable")),
    fleet.pause
      ? simple("Resume writes …", "Resume writes everywhere", "", () => change("DELETE", "/pauses"))
      : simple("Pause writes …", "Pause writes everywhere", "Nobody changes any server through this product until it is resumed.", (values) => change("POST", "/pauses", values), { fields: [field.reason] }),
    simple("Acknowledge all …", "Acknowledge all recoveries", "None of them blocks another one any more.", (values) => change("POST", "/recoveries/acknowledge", values), { fields: [field.comment] }),
  ];
}

export function raftActions() {
  return {
    transfer: (member) => simple("Transfer leadership …", "Transfer leadership", "Recoveries that run go on under the new leader.", (values) => change("POST", "/raft/transfer", values.node ? { node: values.node } : {}), { fields: [{ name: "node", label: "To", value: member || "", options: [["", "whoever has most"], ...(memberNames || []).map((each) => [each, each])] }] }),
    add: simple("Add a node …", "Add a node", "It gets everything, and votes by itself once it has.", (values) => change("POST", "/raft/members", { addr: values.addr.trim() }), { fields: [{ name: "addr", label: "Raft address", required: true, value: "" }] }),
    remove: (address) => simple("Remove …", `Remove ${address}`, "It is refused where it would leave too few nodes.", () => change("DELETE", path`/raft/members/${address}`), { level: "danger", typeThis: address }),
  };
}

let memberNames = [];
export function setMembers(names) {
  memberNames = names;
}
