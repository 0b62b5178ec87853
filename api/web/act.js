/* What people can do, and the one dialog in which they do it: what will happen, a confirmation, and how it goes on.
 * Rules: nothing changes without a confirmation; what replaces a primary needs the cluster's name typed; whatever the
 * server answers is shown; who may not write is offered nothing. */
import { change, get, path } from "./api.js";
import { h } from "./dom.js";
import { live } from "./live.js";
import { clusterName, link, name, seconds, sign, time } from "./words.js";

const FOLLOW_MS = 300;
let writer = false;
let now = null; /* the open dialog */

export function setWriter(value) {
  writer = value;
}

export function isWriter() {
  return writer;
}

/** Buttons of [[label, act]], for who may write. */
export function actions(found, kind = "") {
  if (!writer || !found.length) return "";
  return h("div", { class: `actions ${kind}` }, found.map(([label, act, level = ""]) => h("button", { key: label, type: "button", class: level, onclick: act }, label)));
}

const field = {
  owner: { name: "owner", label: "Who", required: true, value: "" },
  reason: { name: "reason", label: "Why", required: true, value: "" },
  comment: { name: "comment", label: "Comment", required: true, value: "" },
  duration: { name: "duration", label: "For how long (30s, 10m, 2h, 1d)", required: true, value: "10m", pattern: "[0-9]+[smhdw]" },
};

function open(given) {
  now = { fields: [], values: {}, typed: "", plan: undefined, error: null, done: null, recovery: null, busy: false, from: document.activeElement, ...given };
  for (const each of now.fields) now.values[each.name] = each.value ?? "";
  if (now.planOf) loadPlan();
  live.changed();
}

async function loadPlan() {
  const mine = now;
  try {
    const planned = await mine.planOf(mine.values);
    mine.plan = planned;
  } catch (error) {
    mine.plan = null;
    mine.refused = error;
  }
  live.changed();
}

export function closeDialog() {
  if (!now) return;
  const { from } = now;
  now = null;
  live.changed();
  setTimeout(() => from?.isConnected && from.focus(), 60);
}

async function confirm(event) {
  event.preventDefault();
  const mine = now;
  if (mine.busy || mine.done || !ready(mine)) return;
  mine.busy = true;
  mine.error = null;
  live.changed();
  try {
    const { value, follow } = await mine.run(mine.values);
    mine.done = value?.message || "Done.";
    if (follow) await watch(mine, follow);
  } catch (error) {
    mine.error = error;
  }
  mine.busy = false;
  live.onnews({ type: "reset" });
  live.changed();
}

/** Show a recovery step by step until it has ended; the dialog may be closed meanwhile, it goes on. */
async function watch(mine, id) {
  for (;;) {
    try {
      const found = await get(path`/recoveries/${id}`);
      if (!Array.isArray(found)) mine.recovery = found;
      mine.error = null;
    } catch (error) {
      mine.error = error;
    }
    live.changed();
    if (now !== mine || (mine.recovery && mine.recovery.end !== "running")) return;
    await new Promise((done) => setTimeout(done, FOLLOW_MS));
  }
}

function ready(given) {
  const filled = given.fields.every((each) => !each.required || String(given.values[each.name]).trim());
  const planned = !given.planOf || (given.plan !== undefined && !given.refused);
  return filled && planned && (!given.typeThis || given.typed.trim() === given.typeThis);
}

/** The open dialog, or nothing. */
export function dialog() {
  if (!now) return "";
  const given = now;
  return h("dialog", { key: "dialog", "aria-labelledby": "dialog-title", oncreate: (el) => setTimeout(() => el.isConnected && !el.open && el.showModal()), onclose: closeDialog },
    h("form", { onsubmit: confirm },
      h("h2", { id: "dialog-title" }, given.title),
      given.text && h("p", {}, given.text),
      !given.done && given.fields.map((each) => input(each, given)),
      given.planOf && !given.done && planned(given),
      given.typeThis && !given.done && h("label", { class: "typed" }, "To go on, type ", h("strong", {}, given.typeThis),
        h("input", { name: "typed", value: given.typed, autocomplete: "off", spellcheck: "false", oninput: (event) => { given.typed = event.target.value; live.changed(); } })),
      given.error && h("p", { class: "banner critical", role: "alert" }, h("strong", {}, sign("critical", given.error.title || "Failed")), ` ${given.error.message}`),
      given.done && !given.error && h("p", { class: "banner good", role: "status" }, given.done),
      given.recovery && progress(given.recovery),
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: closeDialog }, given.done ? "Close" : "Cancel"),
        !given.done && h("button", { type: "submit", class: given.level || "main", disabled: !ready(given) || given.busy }, given.busy ? "Working …" : given.label))));
}

function input(each, given) {
  const change_ = (event) => {
    given.values[each.name] = event.target.type === "checkbox" ? event.target.checked : event.target.value;
    if (given.planOf && each.plans) { given.plan = undefined; given.refused = null; loadPlan(); }
    live.changed();
  };
  if (each.options)
    return h("label", { key: each.name }, each.label, h("select", { name: each.name, value: given.values[each.name], onchange: change_ }, each.options.map(([value, text]) => h("option", { key: value, value }, text))));
  if (each.check)
    return h("label", { key: each.name, class: "check" }, h("input", { type: "checkbox", name: each.name, checked: given.values[each.name] === true, onchange: change_ }), each.label);
  return h("label", { key: each.name }, each.label, h("input", { name: each.name, value: given.values[each.name], required: each.required, pattern: each.pattern, maxlength: 300, oninput: change_ }));
}

function planned(given) {
  if (given.refused) return h("p", { class: "banner critical", role: "alert" }, h("strong", {}, sign("critical", given.refused.title || "Refused")), ` ${given.refused.message}`);
  if (given.plan === undefined) return h("p", { class: "quiet" }, "Asking for the plan …");
  const { text, how, stages = [], warnings = [], left_out = [], block_s } = given.plan;
  return h("div", { class: "plan" }, h("h3", {}, "What will be done"), text && h("p", {}, text, how ? ` (${how})` : ""),
    h("ol", {}, stages.map((each, i) => h("li", { key: i }, each.text, acts(each)))),
    block_s ? h("p", {}, "Writes are expected to wait at most ", seconds(block_s), ".") : "",
    warnings.map((each, i) => h("p", { key: `w${i}` }, sign("warning", "Mind:"), ` ${each}`)),
    left_out.map((each, i) => h("p", { key: `l${i}`, class: "quiet" }, `Left as it is: ${typeof each === "string" ? each : `${each.key}: ${each.reason}`}`)));
}

function acts(stage) {
  const lines = stage.acts || [];
  return lines.length ? h("ul", { class: "quiet" }, lines.map((each, i) => h("li", { key: i }, typeof each === "string" ? each : each.text))) : "";
}

/** A recovery's steps so far. */
export function progress(recovery) {
  const begun = recovery.started_ms;
  return h("div", { class: "progress" }, h("p", {}, sign(...(recovery.end === "running" ? ["busy", "running"] : recovery.end === "succeeded" ? ["good", "succeeded"] : ["critical", recovery.end])), " ", link(`recovery/${recovery.id}`, {}, "everything about it")),
    h("ol", { class: "steps" }, recovery.timeline.map((mark, i) => h("li", { key: i }, h("span", { class: "number" }, `${mark.at_ms - begun} ms`), ` ${mark.name} ${mark.text}`))),
    recovery.errors.map((each, i) => h("p", { key: i }, sign("warning", "Note:"), ` ${each}`)));
}

/* ---- the rows ---- */

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
  if (row.source && row.reached) found.push(["Move below …", () => move(row, null, cluster, rows)]);
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

function move(row, target, cluster, rows) {
  const others = rows.filter((each) => each.server !== row.server && each.reached && !each.stale);
  const where = at(row.server, "/relocate");
  const body = (values) => ({ target: values.target });
  open({
    title: `Move ${name(row.server, row.alias)}`, label: "Move",
    text: row.source ? `It replicates from ${name(row.source)} now.` : "",
    fields: [{ name: "target", label: "Below", value: (target || others[0])?.server || "", plans: true, required: true, options: others.map((each) => [each.server, name(each.server, each.alias)]) }],
    run: (values) => change("POST", where, body(values)), ...planner(where, body),
  });
}

/** What the server would do, asked of it before anything is confirmed. */
function planner(where, body) {
  return { planOf: async (values) => (await change("POST", `${where}/plan`, body(values))).value?.result };
}

/** A server was dropped onto another one. */
export function drop(moved, onto, cluster, rows) {
  if (writer) move(moved, onto, cluster, rows);
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
