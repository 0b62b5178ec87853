/* The frame around every view: which address is which view, what is read for it, the banners, the keys. */
import { ANONYMOUS, HOME } from "./api.js";
import { h, render } from "./dom.js";
import { Resource, follow, live } from "./live.js";
import { openDiscover } from "./act.js";
import { closeDialog, dialog, setWriter } from "./dialog.js";
import { auditView, blockedView, downtimeView, detectionsView } from "./lists.js";
import { setNavigate } from "./go.js";
import { clusterView } from "./cluster.js";
import { fleetView } from "./fleet.js";
import { raftView } from "./raft.js";
import { recoveriesView, recoveryView } from "./recoveries.js";
import { clusterName, link, name, seconds, sign, time } from "./words.js";

const MESSAGE = document.querySelector("meta[name=web-message]")?.content || "";
const app = document.getElementById("app");
const NAV = [
  ["clusters", "Fleet"], ["audit-recovery", "Recoveries"], ["blocked", "Blocked"], ["downtime", "Downtime"],
  ["audit", "Audit"], ["raft", "Raft"],
];
const shared = {
  me: new Resource("/me"),
  health: new Resource("/health", { accepts: [503] }),
  fleet: new Resource("/fleet"),
};
const FLEET_PAUSE_MS = 5000; /* who does not look at the fleet wants it for the banners only */
let shown = null; /* {view, resources, words, query} */
let focusHeading = false;

/** The view of an address below /web/, the peers' addresses among them. */
function viewOf(words, query) {
  const [first = "", second, third, fourth] = words;
  if (first === "cluster" && second === "alias" && third) return clusterView(third, query);
  if (first === "cluster" && second === "instance" && fourth)
    return clusterView(`${third}:${fourth}`, query, `${third}:${fourth}`);
  if (first === "cluster" && second) return clusterView(second, query);
  if (first === "recovery" || first === "audit-recovery-steps") return recoveryView(second || "");
  if (first === "audit-recovery" && (second === "uid" || second === "id")) return recoveryView(third || "");
  if (first === "audit-recovery") return recoveriesView(words.slice(1), query);
  if (first === "audit-failure-detection") return detectionsView(words.slice(1), query);
  if (first === "audit") return auditView(words.slice(1), query);
  if (first === "blocked") return blockedView(query);
  if (first === "downtime") return downtimeView(query);
  if (first === "raft" || first === "status") return raftView();
  if (["about", "faq", "keep-calm"].includes(first)) return aboutView();
  return fleetView(query);
}

function go() {
  const words = location.pathname.slice(HOME.length).split("/").filter(Boolean).map(decoded);
  const query = new URLSearchParams(location.search);
  const view = viewOf(words, query);
  const kept = shown?.view.name === view.name && sameResources(shown.view, view) ? shown.resources : null;
  shown = { view, words, query, resources: kept || resourcesOf(view) };
  document.body.dataset.view = view.name;
  closeDialog();
  draw();
  if (!kept) refresh(Object.values(shown.resources).filter((each) => each !== shared.fleet));
  if (!kept) refreshFleet({ type: "shown" });
  if (words[0] === "discover") openDiscover();
}

/** A word of an address; one that is no proper text is taken as it stands. */
function decoded(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

function resourcesOf(view) {
  const made = Object.entries(view.resources).map(([key, where]) => [key, shared[key] || new Resource(where.path, where)]);
  return Object.fromEntries(made);
}

function sameResources(one, other) {
  return JSON.stringify(one.resources) === JSON.stringify(other.resources);
}

/** Show another address without loading a page. */
function navigate(where, { replace = false } = {}) {
  const to = new URL(where, document.baseURI);
  if (ANONYMOUS) to.searchParams.set("anonymize", "true");
  history[replace ? "replaceState" : "pushState"](null, "", to);
  go();
}

function refresh(resources) {
  for (const each of resources) each.refresh();
}

live.onnews = (event) => {
  if (!shown) return;
  const own = Object.values(shown.resources).filter((each) => each !== shared.fleet);
  refresh(own.filter((each) => !shown.view.wants || shown.view.wants(event, each)));
  if (event.type !== "servers" || shown.view.name === "fleet") refreshFleet(event);
  if (event.type === "poll" || event.type === "reset") refresh([shared.health, shared.me]);
};

let fleetTimer = 0;

/** The fleet costs the leader most: it is read at once by who looks at it, or has just changed something. */
function refreshFleet(event) {
  const isWanted = shown.view.name === "fleet" || event.type === "reset";
  const rest = isWanted ? 0 : shared.fleet.askedAt + FLEET_PAUSE_MS - performance.now();
  clearTimeout(fleetTimer);
  if (rest > 0) fleetTimer = setTimeout(() => shared.fleet.refresh(), rest);
  else shared.fleet.refresh();
}

let drawing = false;
live.changed = () => {
  if (drawing) return;
  drawing = true;
  setTimeout(() => requestIdle(draw), 40);
};

function requestIdle(work) {
  if (document.hidden) setTimeout(work, 1000);
  else requestAnimationFrame(work);
}

function draw() {
  drawing = false;
  const values = Object.fromEntries(Object.entries(shown.resources).map(([key, each]) => [key, each.value]));
  const title = shown.view.title(values);
  const alarms = alarmCount();
  document.title = `${alarms ? `(${alarms}) ` : ""}${title} · orchestrator_raft`;
  setWriter(!ANONYMOUS && shared.me.value?.may_write === true);
  render(app,
    h("a", { class: "skip", href: `${location.pathname}${location.search}#main` }, "Skip to content"),
    guarded(header), guarded(banners),
    h("main", { id: "main", tabindex: "-1" }, errors(shown.resources), h("h1", { tabindex: "-1" }, title),
      guarded(() => shown.view.draw(values, shown.resources))),
    footer(), dialog());
  if (focusHeading) {
    focusHeading = false;
    document.querySelector("h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

/** A defect of one part is shown in its place, and takes nothing else with it. */
function guarded(part) {
  try {
    return part();
  } catch (error) {
    console.error(error);
    return h("p", { class: "banner critical", role: "alert" }, sign("critical", "This part of the page failed:"), ` ${error.message}`);
  }
}

function alarmCount() {
  return (shared.fleet.value?.clusters || []).reduce(
    (sum, each) => sum + each.troubles.filter((one) => one.severity === "critical").length, 0);
}

function header() {
  const node = shared.health.value;
  const fleet = shared.fleet.value;
  const current = shown.words[0] || "clusters";
  return h("header", { class: "top" },
    link("clusters", { class: "brand", "aria-label": "orchestrator_raft, fleet" }, h("img", { src: "files/icon.svg", alt: "", width: 22, height: 22 }), h("span", {}, "orchestrator_raft")),
    h("nav", { "aria-label": "Views" },
      NAV.map(([to, label]) => link(to, { key: to, "aria-current": isCurrent(to, current) ? "page" : null }, label, badge(to, fleet)))),
    h("form", { role: "search", class: "search", onsubmit: search },
      h("input", { type: "search", name: "s", "aria-label": "Search clusters and servers", placeholder: "Search  ( / )", autocomplete: "off", spellcheck: "false", oninput: search })),
    h("div", { class: "who" }, liveness(), node && h("span", { class: "node", title: `node ${node.node_id}, ${node.version}` },
      `${node.hostname || node.node_id} · ${node.role.toLowerCase()}`),
      shared.me.value && h("span", { class: "person" }, shared.me.value.name || "", shared.me.value.may_write ? "" : h("span", { class: "chip" }, "read-only"))));
}

function footer() {
  const other = new URL(location.href);
  if (ANONYMOUS) other.searchParams.delete("anonymize");
  else other.searchParams.set("anonymize", "true");
  return h("footer", {}, shared.health.value && h("span", {}, `orchestrator_raft ${shared.health.value.version}`), link("about", {}, "Keys and help"), h("a", { href: "../api/v2/docs" }, "API"),
    h("a", { href: ANONYMOUS ? new URL("clusters", document.baseURI).href : other.href, target: "_self" }, ANONYMOUS ? "Show names" : "Anonymise, to show it to others"));
}

function isCurrent(to, current) {
  const family = { cluster: "clusters", search: "clusters", home: "clusters", "clusters-analysis": "clusters", discover: "clusters",
    recovery: "audit-recovery", "audit-recovery-steps": "audit-recovery", "audit-failure-detection": "audit-recovery", status: "raft" };
  return to === (family[current] || current);
}

function badge(to, fleet) {
  const count = { "audit-recovery": fleet?.unacknowledged, blocked: fleet?.blocked }[to];
  return count ? h("span", { class: "badge", title: to === "blocked" ? "blocked recoveries" : "not acknowledged" }, count) : null;
}

function liveness() {
  const words = { live: ["good", "live"], polling: ["note", "anonymised, every 5 s"], connecting: ["unknown", "connecting"], lost: ["warning", "not live"] }[live.status];
  const title = live.status === "lost" ? `Not live for ${seconds((Date.now() - live.since) / 1000)}` : "Shown as it happens";
  return h("span", { class: "live", title, role: "status" }, sign(...words));
}

function search(event) {
  event.preventDefault();
  const text = (event.target.elements?.s || event.target).value.trim();
  const isFleet = shown.view.name === "fleet";
  if (event.type === "input" && !isFleet) return;
  navigate(text ? `search?s=${encodeURIComponent(text)}` : "clusters", { replace: isFleet });
}

function errors(resources) {
  const isTold = live.status === "lost" && shared.health.error; /* by a banner */
  const failed = Object.entries(resources).filter(([, each]) => each.error && !(isTold && each.error.status === 0));
  return failed.map(([key, { error, at }]) =>
    h("div", { key, class: "banner critical", role: "alert" }, h("strong", {}, sign("critical", error.title)), ` ${error.message}`,
      at ? h("span", {}, " What is shown is from ", time(at), ".") : ""));
}

function banners() {
  const fleet = shared.fleet.value;
  const node = shared.health.value;
  const found = [];
  const add = (kind, title, ...text) => found.push(h("div", { key: title, class: `banner ${kind}` }, h("strong", {}, sign(kind, title)), " ", text));
  if (MESSAGE) add("note", "Note:", MESSAGE);
  if (live.status === "lost" && shared.health.error) add("critical", "This node does not answer.", "What you see is old. ", otherNodes(node));
  else if (live.status === "lost") add("warning", "Not live.", "The node takes no more event streams, or something on the way holds them back: this is read anew every 5 s.");
  if (node && node.problem) add("critical", `Node ${node.node_id}:`, node.problem);
  if (node && !node.leader_id) add("critical", "No leader is known here.", "Nothing is recovered, and who is well is not known.");
  else if (fleet && !fleet.looked) add("warning", "No leader answers.", "This is what is committed; who is well is not known.");
  if (fleet?.pause) add("warning", "Writes are paused everywhere", `by ${fleet.pause.by || "somebody"}: ${fleet.pause.reason}. `, time(fleet.pause.since_ms));
  if (fleet?.recoveries_disabled) add("warning", "Automatic recoveries are disabled.", "Manual ones still run.");
  for (const each of (fleet?.clusters || []).filter((one) => one.running))
    add("busy", `${clusterName(each)}: ${each.running.text}`, `of ${name(each.running.server)}, `, link(`recovery/${each.running.id}`, {}, `phase ${each.running.phase}`), ".");
  return h("div", { class: "banners", role: "region", "aria-label": "Announcements", "aria-live": "polite" }, found);
}

function otherNodes(node) {
  const others = (node?.http_uris || []).filter((each) => each && new URL(each).host !== location.host);
  if (!others.length || ANONYMOUS) return "";
  return ["Other nodes: ", others.map((each, i) => [i ? ", " : "", h("a", { href: new URL(location.pathname, each).href, rel: "noreferrer" }, new URL(each).host)])];
}

function aboutView() {
  const keys = [["/", "search"], ["g f", "fleet"], ["g r", "recoveries"], ["g n", "Raft nodes"], ["g a", "audit"], ["↑ ↓ ← →", "from server to server"], ["Enter", "details and what can be done"], ["Esc", "close"]];
  return {
    name: "about", resources: {}, title: () => "About",
    draw: () => h("div", { class: "card" },
      h("p", {}, "Keeps MySQL and MariaDB primaries available. Every node shows the same."),
      h("p", {}, h("a", { href: "../api/v2/docs" }, "The API of this node")),
      h("h2", {}, "Keys"), h("table", { class: "plain" }, h("tbody", {}, keys.map(([key, what]) => h("tr", { key }, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, what)))))),
  };
}

/* Links inside the page do not load it anew. */
document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a");
  if (!anchor || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const to = new URL(anchor.href);
  if (to.origin !== location.origin || !to.pathname.startsWith(HOME) || to.hash || anchor.target || anchor.hasAttribute("download")) return;
  event.preventDefault();
  focusHeading = !anchor.hasAttribute("data-stay");
  navigate(to.href);
});
addEventListener("popstate", go);

let afterG = 0;
addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector("input[type=search]")?.focus();
  }
  const to = { f: "clusters", r: "audit-recovery", n: "raft", a: "audit" }[event.key];
  if (to && Date.now() - afterG < 1000) navigate(to);
  afterG = event.key === "g" ? Date.now() : 0;
});

setNavigate(navigate);
go();
refresh([shared.me, shared.health]);
follow();
