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

/** [[group, [[label, act, level]]]] of what can be done with one server. */
export function serverActions(row, cluster, rows) {
  const groups = [
    ["Primary", ofPrimary(row, cluster, rows)],
    ["Move", MOVES.filter((each) => each.when(row, rows)).map((each) => [`${each.label} …`, () => move(row, null, cluster, rows, each), each.level || ""])],
    ["Replication and writes", STAYS.filter((each) => each.when(row, rows)).map((each) => [`${each.label} …`, () => move(row, null, cluster, rows, each), each.level || ""])],
    ["Kept out", ofQuarantine(row)],
    ["Marks", ofMarks(row)],
    ["Watching", ofWatching(row)],
  ];
  return groups.filter(([, found]) => found.length);
}

function ofPrimary(row, cluster, rows) {
  const repair = row.troubles.find((each) => each.repair)?.repair;
  return [
    row.source && !row.is_primary && row.reached && ["Make it the primary …", () => takeover(cluster, rows, row.server)],
    row.is_primary && ["Fail over …", () => failover(cluster), "danger"],
    repair && simple("Recover …", `Recover ${name(row.server)}`, repair, () => change("POST", at(row.server, "/recover")), { typeThis: clusterName(cluster), level: "danger" }),
  ].filter(Boolean);
}

/** What a server that is kept out holds alone, and how it comes back. */
function ofQuarantine(row) {
  if (row.stale?.status !== "quarantined") return [];
  return [
    simple("Save its transactions …", `Save the transactions that only ${name(row.server)} has`, "They are read from its binary logs and saved as SQL on the leader.", () => change("POST", at(row.server, "/save-lost-transactions"))),
    simple("Rebuild …", `Rebuild ${name(row.server)}`, "All its data is replaced by a copy of the fittest replica's. MySQL only.", (values) => change("POST", at(row.server, "/rebuild"), values.accept_loss ? { accept_loss: true } : {}), { level: "danger", typeThis: name(row.server), fields: [{ name: "accept_loss", check: true, label: "although transactions that only it has are not saved" }] }),
  ];
}

function ofMarks(row) {
  const [server, shown] = [row.server, name(row.server)];
  const rules = ["must", "prefer", "neutral", "prefer_not", "must_not"].map((each) => [each, each.replace("_", " ")]);
  return [
    !row.downtime && simple("Begin downtime …", `Downtime of ${shown}`, "Until it ends, problems of this server start no recovery.", (values) => change("POST", at(server, "/downtime"), values), { fields: [field.owner, field.reason, field.duration] }),
    row.downtime && simple("End downtime …", `End the downtime of ${shown}`, "From then on its problems may start a recovery.", () => change("DELETE", at(server, "/downtime"))),
    !row.maintenance && simple("Begin maintenance …", `Maintenance of ${shown}`, "Until it ends, nobody else and nothing automatic changes this server.", (values) => change("POST", at(server, "/maintenance"), values), { fields: [field.owner, field.reason, field.duration] }),
    row.maintenance && simple("End maintenance …", `End the maintenance of ${shown}`, "", () => change("DELETE", at(server, "/maintenance"))),
    simple("Promotion rule …", `How gladly ${shown} is promoted`, "It goes before the rule that was detected.", (values) => change("POST", at(server, "/promotion-rule"), values), { fields: [{ name: "rule", label: "Rule", value: row.promotion_rule || "neutral", options: rules }, { ...field.duration, value: "1d" }] }),
    simple("Tag …", `Tag ${shown}`, "", (values) => change("POST", at(server, "/tags"), values), { fields: [{ name: "tag", label: "Name, or name=value", required: true, value: "" }] }),
    row.tags.length && simple("Remove a tag …", `Remove a tag of ${shown}`, "", (values) => change("DELETE", at(server, "/tags") + path`/${values.tag}`), { fields: [{ name: "tag", label: "Tag", value: row.tags[0].split("=")[0], options: row.tags.map((each) => [each.split("=")[0], each]) }] }),
  ].filter(Boolean);
}

function ofWatching(row) {
  const [server, shown] = [row.server, name(row.server)];
  return [
    simple("Probe now …", `Probe ${shown} now`, "It is asked at once, and what it says is recorded.", () => change("POST", at(server, "/refresh"))),
    simple("Forget …", `Forget ${shown}`, "It is not watched any more. Nothing is changed on the server; it comes back if a server that is watched names it.", (values) => change("DELETE", at(server, ""), values.force ? { force: true } : {}), { level: "danger", fields: [{ name: "force", check: true, label: "also where its record is needed" }] }),
  ];
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
    run: (values) => change("POST", where, body(values)), ...planner(where, body),
  });
}

function failover(cluster) {
  const where = path`/clusters/${cluster.id}/failover`;
  const body = (values) => (values.accept_loss ? { accept_loss: true } : {});
  open({
    title: `Fail over ${clusterName(cluster)}`, label: "Fail over", level: "danger", typeThis: clusterName(cluster),
    text: `The primary ${name(cluster.primary)} is treated as dead: it is fenced if it can be reached, and the best replica is promoted. For a primary that is well use Take over.`,
    fields: [{ name: "accept_loss", check: true, plans: true, label: "Promote even if acknowledged writes may be lost" }],
    run: (values) => change("POST", where, body(values)), ...planner(where, body),
  });
}

const follows = (row) => row.source && row.reached;
const isFollowed = (row, rows) => rows.some((each) => each.source === row.server);
const BELOW = { label: "Move below", operation: "relocate", target: true, when: follows, text: "It is moved the cheapest safe way." };
/** Operations that give servers another source. Each is planned by the server before it is confirmed. */
export const MOVES = [
  BELOW,
  { label: "Move up", operation: "move-up", when: (row, rows) => follows(row) && rows.some((each) => each.server === row.source && each.source), text: "It then replicates from the source of its source." },
  { label: "Take siblings", operation: "take-siblings", when: (row, rows) => follows(row) && rows.filter((each) => each.source === row.source).length > 1, text: "The other replicas of its source then replicate from it." },
  { label: "Move its replicas below", operation: "relocate-replicas", target: true, when: isFollowed, text: "Its direct replicas are moved, with whatever replicates from them." },
  { label: "Repoint", operation: "repoint", target: true, when: (row) => row.source && row.reached !== null, text: "It goes on from where it is, below a server that may not answer now." },
  { label: "Swap with its source", operation: "take-master", when: (row, rows) => follows(row) && rows.some((each) => each.server === row.source && each.source), text: "Its source, a replica itself, then replicates from it." },
  { label: "Put in its source's place", operation: "make-local-master", when: (row, rows) => follows(row) && rows.some((each) => each.server === row.source && each.source), text: "It replaces its source, above its siblings." },
  { label: "Regroup its replicas", operation: "regroup-replicas", when: isFollowed, text: "The best of its replicas becomes the source of the others." },
  { label: "Make co-primary", operation: "make-co-master", when: follows, level: "danger", text: "Its source replicates from it as well." },
  { label: "Detach", operation: "detach-replica", when: follows, text: "It stops, and the name of its source is set aside until it is reattached." },
  { label: "Reattach", operation: "reattach-replica", when: (row) => row.reached && !row.source && !row.is_primary, text: "It replicates again from the source that was set aside." },
  { label: "Reset", operation: "reset-replica", when: follows, level: "danger", text: "It forgets its source." },
  { label: "Move its replicas up", operation: "move-up-replicas", when: (row, rows) => follows(row) && isFollowed(row, rows), text: "Its replicas then replicate from its own source." },
];

const isWritable = (row) => row.reached && row.read_only === false;
const hasTrouble = (row, code) => row.troubles.some((each) => each.code.includes(code));
/** Operations after which a server stays where it is; planned before they are confirmed, too. */
export const STAYS = [
  { label: "Stop replication", operation: "stop-replica", when: (row) => follows(row) && row.receiver === "running", text: "It lags until it is started again." },
  { label: "Stop once all is applied", operation: "stop-replica-nice", when: (row) => follows(row) && row.receiver === "running", text: "It lags until it is started again." },
  { label: "Start replication", operation: "start-replica", when: (row) => follows(row) && (row.receiver !== "running" || row.applier !== "running"), text: "" },
  { label: "Restart replication", operation: "restart-replica", when: follows, text: "It stops and starts." },
  { label: "Skip a transaction", operation: "skip-query", when: (row) => follows(row) && row.replication_error, level: "danger", text: "It goes on behind the transaction that stopped its applier, and differs from its source from then on." },
  { label: "Delay replication", operation: "delay-replication", when: follows, text: "It applies later than its source.", fields: [{ name: "seconds", label: "Seconds", required: true, value: "3600", pattern: "[0-9]+", plans: true }] },
  { label: "Set read-only", operation: "set-read-only", when: isWritable, level: "danger", isTyped: true, text: "It takes no writes from then on." },
  { label: "Set writable", operation: "set-writable", when: (row) => row.reached && row.read_only === true, text: "It is refused where that would make a second primary." },
  { label: "Acknowledge by semi-sync", operation: "enable-semi-sync-replica", when: (row) => follows(row) && row.semi_sync && !row.semi_sync.replica, text: "Its source waits for it from then on." },
  { label: "Inject errant transactions empty", operation: "gtid-errant-inject-empty", when: (row) => hasTrouble(row, "Errant"), text: "The primary writes them empty, so that every server has them by number. The data stays different." },
  { label: "Forget errant transactions", operation: "gtid-errant-reset-master", when: (row) => hasTrouble(row, "Errant"), level: "danger", text: "The replica forgets their numbers. The data stays different." },
  { label: "Begin a new binary log", operation: "flush-binary-logs", when: (row) => row.reached, text: "" },
];

/** Ask for the plan of one operation on a server, and offer to carry it out. */
function move(row, target, cluster, rows, row_ = BELOW) {
  const others = rows.filter((each) => each.server !== row.server && each.reached && !each.stale);
  const where = at(row.server, `/${row_.operation}`);
  const below = (target || others.find((each) => each.server !== row.source) || others[0])?.server || "";
  const fields = row_.target ? [{ name: "target", label: "Below", value: below, plans: true, required: true, options: others.map((each) => [each.server, name(each.server, each.alias)]) }] : row_.fields || [];
  const body = (values) => Object.fromEntries(fields.map((each) => [each.name, each.pattern === "[0-9]+" ? Number(values[each.name]) : values[each.name]]));
  open({
    level: row_.level, title: `${row_.label}: ${name(row.server, row.alias)}`, label: row_.label, typeThis: row_.isTyped ? clusterName(cluster) : "",
    text: `${row_.text}${row.source ? ` It replicates from ${name(row.source)} now.` : ""}`,
    fields, run: (values) => change("POST", where, body(values)), ...planner(where, body),
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

export function publishAgain(cluster) {
  return simple("Publish again …", `Publish the primary of ${clusterName(cluster)} again`, "Every target is told once more.", (values) => change("POST", "/publications", { cluster: cluster.id, ...(values.force ? { force: true } : {}) }), { fields: [{ name: "force", check: true, label: "write over something newer that a target has" }] });
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
