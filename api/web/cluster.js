/* One cluster: what is wrong in words, the tree of replication, and one server beside it. */
import { path } from "./api.js";
import { clusterActions, drop, publishAgain, serverActions } from "./act.js";
import { actions, isWriter, menu } from "./dialog.js";
import { outlook, state } from "./fleet.js";
import { h, memo } from "./dom.js";
import { live } from "./live.js";
import { BOX, curve, layout } from "./tree.js";
import { chip, clusterName, clusterPath, end, link, name, plural, seconds, sign, time } from "./words.js";

const expanded = new Set();
let dragged = null;
let over = null;
let shown = null; /* {cluster, rows} as they are on the screen */
const updated = new WeakMap(); /* a row as it was read -> the same with what the stream told last */

export function clusterView(hint, query, server = query.get("server") || "") {
  const where = path`/clusters/${hint}/map`;
  return {
    name: `cluster ${hint}`,
    resources: { map: { path: where }, published: { path: `/publications?${new URLSearchParams({ cluster: hint })}` } },
    wants: (event, each) => !event.cluster_id || !each.value || event.cluster_id === (each.value.cluster?.id ?? each.value[0]?.cluster_id),
    title: ({ map }) => (map ? clusterName(map.cluster) : hint),
    draw: ({ map, published = [] }, { map: resource }) =>
      map ? page(map, server, published) : resource.error ? "" : h("p", { class: "quiet" }, "Loading …"),
  };
}

function page(map, selected, published) {
  const { cluster } = map;
  const rows = map.servers.map(withLag);
  shown = { cluster, rows };
  const chosen = rows.find((each) => each.server === selected);
  return [
    h("div", { class: "bar" },
      h("p", { class: "summary" }, sign(...state(cluster, map.looked)), " ", outlook(cluster), " ",
        cluster.pause && chip("warning", cluster.pause.reason, `writes paused by ${cluster.pause.by || "somebody"}`),
        h("span", { class: "quiet" }, ` ${cluster.servers.length} servers · ${cluster.domain || cluster.id}`)),
      actions(clusterActions(cluster, rows))),
    promises(cluster), runningOf(cluster), troublesOf(cluster),
    h("div", { class: chosen ? "with-panel" : "" },
      h("div", {},
        h("section", { class: "tree-frame", "aria-label": "Replication tree", tabindex: 0 }, tree(rows, cluster, selected)),
        h("p", { class: "quiet legend" }, isWriter() ? "Drag a server onto another to move it below that one; nothing happens before you have seen the plan. " : "", "Arrow keys walk from server to server."),
        publication(published, cluster)),
      chosen && panel(chosen, cluster, rows)),
  ];
}

const STANDINGS = { current: "good", waiting: "busy", failed: "warning", refused: "critical" };

/** Who outside has been told who the primary is; nothing where nobody is told. */
function publication(published, cluster) {
  const found = published.filter((each) => each.cluster_id === cluster.id && each.targets.length);
  if (!found.length) return "";
  return h("section", { class: "card" }, h("div", { class: "bar" }, h("h2", {}, "Published"), actions([publishAgain(cluster)])),
    found.map((each) => h("p", { key: each.alias }, h("span", { class: "address" }, name(each.primary)), ` as ${each.alias}, generation ${each.generation}, `, time(each.at_ms))),
    h("ul", {}, found.flatMap((each) => each.targets).map((each) => h("li", { key: each.target }, sign(STANDINGS[each.standing], each.standing), ` ${each.target}${each.detail ? `: ${each.detail}` : ""}`))));
}

/** With what the stream told since; the same object as long as that is the same. */
function withLag(row) {
  const now = live.lags.get(row.server);
  if (!now || row.reached === null) return row;
  const lag_s = now.reached ? now.lag_s : null;
  const before = updated.get(row);
  if (before?.lag_s === lag_s && before.reached === now.reached) return before;
  const found = { ...row, lag_s, reached: now.reached };
  updated.set(row, found);
  return found;
}

function promises(cluster) {
  const lines = [];
  if (cluster.automatic_failover.by_choice) lines.push(["note", "Fails over by hand only", cluster.automatic_failover.because]);
  if (!cluster.no_loss_promise.holds) lines.push(["note", "No promise that nothing is lost", cluster.no_loss_promise.because]);
  return lines.length ? h("ul", { class: "lines" }, lines.map(([kind, title, text]) => h("li", { key: title }, sign(kind, title), ` ${text}`))) : "";
}

function runningOf(cluster) {
  const now = cluster.running;
  return now && h("div", { class: "card busy" }, sign("busy", now.text), ` of ${name(now.server)}: `, link(`recovery/${now.id}`, {}, `phase ${now.phase}`), ", begun ", time(now.started_ms));
}

function troublesOf(cluster) {
  const notes = cluster.troubles.filter((each) => each.severity === "note");
  const rest = cluster.troubles.filter((each) => each.severity !== "note");
  return [
    rest.length ? h("ul", { class: "troubles", "aria-label": "Problems" }, rest.map((each, i) => told(each, i, cluster))) : "",
    notes.length ? h("details", { class: "notes" }, h("summary", {}, sign("note", plural(notes.length, "note"))), h("ul", { class: "troubles" }, notes.map((each, i) => told(each, i, cluster)))) : "",
  ];
}

function told(each, i, cluster) {
  return h("li", { key: `${each.server} ${each.code} ${i}`, class: each.severity },
    h("p", {}, sign(each.severity, each.code), " ", link(`${clusterPath(cluster)}?server=${encodeURIComponent(each.server)}`, { class: "address", "data-stay": true }, name(each.server)), ` ${each.text}.`),
    each.evidence.length ? h("p", { class: "quiet" }, each.evidence.join(" · ")) : "",
    fate(each));
}

function fate(trouble) {
  if (trouble.because) return h("p", {}, h("strong", {}, "Left alone: "), trouble.because);
  if (trouble.repair) return h("p", {}, h("strong", {}, "What is done: "), trouble.repair);
  return "";
}

function tree(rows, cluster, selected) {
  const plan = layout(rows, { expanded, pinned: selected });
  return h("div", { class: "tree", place: { width: `${plan.width + 40}px`, height: `${plan.height}px` }, onkeydown: walk, ...DRAGGING },
    h("svg", { width: plan.width + 40, height: plan.height, "aria-hidden": "true" },
      plan.edges.map((each) => h("path", { key: `${each.from.key} ${each.to.key}`, d: curve(each), class: `edge ${each.kind}${each.odd ? " odd" : ""}` }))),
    h("ul", { class: "boxes" }, plan.nodes.map((node) => (node.group ? more(node) : memo(node.key, [node.row, node.x, node.y, selected === node.key, isWriter(), over === node.key], () => box(node, cluster, selected))))),
    plan.keptFrom !== null && h("p", { class: "kept-out quiet", place: { top: `${plan.keptFrom - 4}px` } }, "Kept out of the cluster"));
}

function at(node) {
  return { "--x": `${node.x}px`, "--y": `${node.y}px`, "--depth": node.depth, "--w": `${BOX.width}px`, "--h": `${BOX.height}px` };
}

function more(node) {
  return h("li", { key: node.key, place: at(node) },
    h("button", { class: "box more", onclick: () => { expanded.add(node.parent); live.changed(); } }, sign("good", `${node.group.length} more, all well`)));
}

/** The worst of one server, as a sign and a word. */
export function health(row) {
  if (row.stale) return ["warning", row.stale.status];
  if (row.downtime) return ["downtime", "downtime"];
  if (row.maintenance) return ["downtime", "maintenance"];
  if (row.reached === null) return ["unknown", "unknown"];
  const worst = row.troubles.find((each) => each.severity === "critical") || row.troubles.find((each) => each.severity === "warning");
  if (row.reached === false) return [worst?.severity || "warning", "out of reach"];
  return worst ? [worst.severity, worst.code === "NotReplicating" ? "not replicating" : worst.severity] : ["good", "ok"];
}

export function role(row) {
  if (row.stale) return "kept out";
  if (row.is_co_primary) return "co-primary";
  if (row.is_primary) return "primary";
  return row.source ? "replica" : "alone";
}

function box(node, cluster, selected) {
  const { row } = node;
  const [kind, word] = health(row);
  const target = `${clusterPath(cluster)}?server=${encodeURIComponent(row.server)}`;
  const writer = isWriter();
  return h("li", { place: at(node) },
    h("a", {
      class: `box ${kind} ${row.is_primary ? "primary" : ""} ${over === row.server ? "over" : ""}`, href: selected === row.server ? clusterPath(cluster) : target, "data-stay": true, "data-server": row.server,
      "aria-current": selected === row.server ? "true" : null, draggable: writer ? "true" : "false",
      "aria-label": `${name(row.server, row.alias)}, ${role(row)}, ${word}${row.lag_s !== null ? `, lag ${seconds(row.lag_s)}` : ""}`,
    },
      h("span", { class: "head" }, h("strong", { class: "address" }, name(row.server, row.alias)), h("span", { class: `role ${role(row)}` }, role(row))),
      h("span", { class: "facts" }, facts(row)),
      h("span", { class: "foot" }, sign(kind, word), row.lag_s !== null && row.lag_s !== undefined ? h("span", { class: "number" }, `lag ${seconds(row.lag_s)}`) : "")));
}

/** "9.7 · dc1 · writable · acks" */
function facts(row) {
  const version = row.version.match(/^\d+\.\d+/)?.[0] || row.version;
  const words = [
    row.flavor ? `${row.flavor === "mariadb" ? "MariaDB" : "MySQL"} ${version}` : "never reached",
    row.data_center, row.reached && row.read_only === false ? "writable" : "",
    !row.reached ? "" : row.semi_sync?.source ? "semi-sync" : row.semi_sync?.possible_acker ? "acks" : "", row.delay_s ? `delayed ${seconds(row.delay_s)}` : "",
  ];
  return words.filter(Boolean).join(" · ");
}

const serverAt = (event) => event.target.closest?.("[data-server]")?.dataset.server || null;

function hover(server) {
  if (over === server) return;
  over = server;
  live.changed();
}

/* Of the whole tree, so that a box that is drawn anew gets no handlers anew. */
const DRAGGING = {
  ondragstart: (event) => {
    dragged = serverAt(event);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged || "");
  },
  ondragend: () => {
    dragged = null;
    hover(null);
  },
  ondragover: (event) => {
    const server = serverAt(event);
    if (!dragged || !server || server === dragged) return hover(null);
    event.preventDefault();
    hover(server);
  },
  ondrop: (event) => {
    event.preventDefault();
    const find = (server) => shown.rows.find((each) => each.server === server);
    const [moved, onto] = [find(dragged), find(serverAt(event))];
    dragged = null;
    hover(null);
    if (moved && onto && moved !== onto) drop(moved, onto, shown.cluster, shown.rows);
  },
};

function walk(event) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const from = document.activeElement?.closest(".box");
  if (!step || !from) return;
  event.preventDefault();
  const here = from.getBoundingClientRect();
  const [dx, dy] = step;
  const distance = (each) => {
    const there = each.getBoundingClientRect();
    const [x, y] = [there.left - here.left, there.top - here.top];
    const along = x * dx + y * dy;
    return along > 4 ? along + 3 * Math.abs(dx ? y : x) : Infinity;
  };
  const others = [...event.currentTarget.querySelectorAll(".box")].filter((each) => each !== from);
  const best = others.reduce((one, each) => (distance(each) < distance(one) ? each : one), from);
  if (best !== from && distance(best) < Infinity) best.focus();
}

function panel(row, cluster, rows) {
  const [kind, word] = health(row);
  const seen = row.seen_s_ago === null ? "never" : `${seconds(row.seen_s_ago)} ago`;
  const lines = [
    ["State", sign(kind, word)], ["Role", role(row)], row.unreachable && ["Not reached", row.unreachable],
    row.source && ["Replicates from", name(row.source)],
    row.receiver && ["Receiver, applier", `${row.receiver}, ${row.applier}`], row.replication_error && ["Error", row.replication_error],
    row.source && ["Lag", row.lag_s === null ? "unknown" : seconds(row.lag_s)], row.delay_s ? ["Delayed on purpose", seconds(row.delay_s)] : null,
    ["Last seen", seen], ["Writes", row.read_only === null ? "unknown" : `${row.read_only ? "read-only" : "writable"}${row.reached === false ? " when it was last seen" : ""}`],
    ["Semi-sync", semiSync(row.semi_sync)], ["Version", `${row.flavor} ${row.version}`], row.alias && ["Alias", `${row.alias} (${row.server})`],
    ["Place", [row.data_center, row.region, row.environment].filter(Boolean).join(", ") || "unknown"], ["Promotion", row.promotion_rule || "–"],
    ["Can be a source", row.logs_updates === null ? "unknown" : row.logs_updates ? "yes" : "no: it does not log what it replicates"],
    row.tags?.length && ["Tags", row.tags.map((each) => chip("", "", each))],
    row.downtime && ["Downtime", [`${row.downtime.owner}: ${row.downtime.reason}, until `, time(row.downtime.ends_ms, { ago: false })]],
    row.maintenance && ["Maintenance", [`${row.maintenance.owner}: ${row.maintenance.reason}, until `, time(row.maintenance.ends_ms, { ago: false })]],
    row.stale && ["Kept out", [row.stale.detail || row.stale.status, row.stale.extra && h("pre", { class: "gtids" }, row.stale.extra), " ", link(`recovery/${row.stale.recovery_id}`, {}, "recovery")]],
  ];
  return h("aside", { class: "panel", "aria-label": `Server ${row.server}` },
    h("div", { class: "bar" }, h("h2", { class: "address" }, name(row.server, row.alias)), link(clusterPath(cluster), { class: "close", "aria-label": "Close", "data-stay": true }, "✕")),
    row.troubles.map((each, i) => h("div", { key: `${each.code} ${i}`, class: `trouble ${each.severity}` }, h("p", {}, sign(each.severity, each.code), ` ${each.text}.`), each.evidence.length ? h("p", { class: "quiet" }, each.evidence.join(" · ")) : "", fate(each))),
    h("dl", {}, lines.filter(Boolean).map(([term, value]) => h("div", { key: term }, h("dt", {}, term), h("dd", {}, value)))),
    menu(serverActions(row, cluster, rows)),
    h("p", {}, link(`audit?server=${encodeURIComponent(row.server)}`, {}, "Audit of this server"), cluster.last && [" · ", end(cluster.last), " ", link(`recovery/${cluster.last.id}`, {}, "last recovery")]));
}

function semiSync(found) {
  if (!found) return "unknown";
  const words = [found.source && `source, waits for ${found.wait_for_replica_count}`, found.replica && "replica", found.possible_acker && "may have acknowledged writes"];
  return words.filter(Boolean).join(", ") || "off";
}
