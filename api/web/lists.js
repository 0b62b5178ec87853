/* Lists with pages and filters, each of them an address that can be sent to a colleague. */
import { h } from "./dom.js";
import { navigate } from "./go.js";
import { tabs } from "./recoveries.js";
import { link, name, plural, seconds, short, sign, time } from "./words.js";

const PAGE_SIZE = 20;

/** The page of an address: a word of it (as with the peers), else ?page=. */
export function pageOf(words, query) {
  const word = words[["cluster", "alias", "id"].includes(words[0]) ? 2 : 0] || query.get("page") || "";
  return /^\d+$/.test(word) ? Number(word) : 0;
}

export function pager(page, count, where) {
  if (!page && count < PAGE_SIZE) return "";
  return h("nav", { class: "pager", "aria-label": "Pages" }, page > 0 ? link(where(page - 1), { rel: "prev" }, "← Newer") : "", h("span", { class: "quiet" }, `Page ${page + 1}`), count >= PAGE_SIZE ? link(where(page + 1), { rel: "next" }, "Older →") : "");
}

function table(heads, rows, none) {
  if (!rows.length) return h("p", { class: "card quiet" }, none);
  return h("div", { class: "card wide" }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((each) => h("th", { key: each, scope: "col" }, each)))),
    h("tbody", {}, rows.map(({ key, cells }) => h("tr", { key }, cells.map((each, i) => h("td", { key: i, "data-label": heads[i] }, each)))))));
}

function onServer(key) {
  const [, host, port] = key.match(/^(.*):(\d+)$/) || [null, key, ""];
  return link(`cluster/instance/${encodeURIComponent(host)}/${port}`, { class: "address" }, name(key));
}

/** words: [page] | ["instance", host, port, page]; also ?server=host:port. */
export function auditView(words, query) {
  const [kind, host, port] = words;
  const server = query.get("server") || (kind === "instance" && host ? `${host}:${port}` : "");
  const number = kind === "instance" ? Number(words[3] || query.get("page") || 0) : pageOf(words, query);
  const text = query.get("text") || "";
  const here = (more) => {
    const found = new URLSearchParams({ ...(server ? { server } : {}), ...(text ? { text } : {}), ...more });
    for (const [key, each] of [...found]) if (!each || (key === "page" && each === "0")) found.delete(key);
    return `audit?${found}`;
  };
  return {
    name: "audit",
    resources: { audit: { path: `/audit?${new URLSearchParams({ page: number, ...(server ? { server } : {}), ...(text ? { text } : {}) })}` } },
    title: () => (server ? `Audit of ${name(server)}` : "Audit"),
    draw: ({ audit }) => [
      filter(here, server, text),
      audit && table(["When", "Type", "Server", "What", "By", "Request"], audit.map((each) => ({
        key: each.number, cells: [time(each.at_ms), each.type, each.key ? onServer(each.key) : "–", each.message, each.by || "–", short(each.request_id)],
      })), "Nothing was written down here."),
      audit && pager(number, audit.length, (page) => here({ page })),
    ],
  };
}

function filter(here, server, text) {
  const submit = (event) => {
    event.preventDefault();
    const { elements } = event.target;
    navigate(here({ server: elements.server.value.trim(), text: elements.text.value.trim() }));
  };
  return h("form", { class: "filters", onsubmit: submit },
    h("label", {}, "Server ", h("input", { name: "server", value: server, placeholder: "host:port", key: server })),
    h("label", {}, "Text ", h("input", { name: "text", value: text, placeholder: "type, person, request, anything", key: text })),
    h("button", { type: "submit" }, "Filter"), server || text ? link("audit", {}, "All") : "");
}

export function detectionsView(words, query) {
  const page = pageOf(words, query);
  const [kind, value] = words;
  const filter = ["alias", "id"].includes(kind) && value ? [kind, value] : null;
  const asked = new URLSearchParams({ page, ...(filter ? { [kind]: value } : {}) });
  const here = `audit-failure-detection${filter ? `/${kind}/${encodeURIComponent(value)}` : ""}`;
  return {
    name: "detections",
    resources: { detections: { path: `/detections?${asked}` } },
    title: () => "Detected failures",
    draw: ({ detections }) => [
      h("div", { class: "bar" }, tabs("audit-failure-detection")),
      detections && table(["When", "What", "Server", "Cluster", "Evidence", "Recovery"], detections.map((each) => ({
        key: each.number, cells: [time(each.at_ms), sign("warning", each.subject.code), onServer(each.subject.key), each.subject.cluster_alias || each.subject.cluster_name, each.subject.evidence.join(" · ") || each.subject.text,
          each.recovery_id ? link(`recovery/${each.recovery_id}`, {}, "recovery") : "none"],
      })), "No failure was detected."),
      detections && pager(page, detections.length, (to) => `${here}?page=${to}`),
    ],
  };
}

export function blockedView() {
  return {
    name: "blocked",
    resources: { blocked: { path: "/blocked-recoveries" } },
    title: () => "Blocked recoveries",
    draw: ({ blocked }) => [
      h("p", { class: "quiet" }, "Recoveries that did not start, and why. Each line says what to do."),
      blocked && table(["When", "Problem", "Server", "Why it did not start", "Because of"], [...blocked].reverse().map((each, i) => ({
        key: i, cells: [time(each.at_ms), sign("critical", each.code), onServer(each.key), each.reason, each.blocking_recovery_id ? link(`recovery/${each.blocking_recovery_id}`, {}, "this recovery") : ""],
      })), "None is blocked."),
    ],
  };
}

export function downtimeView() {
  return {
    name: "downtime",
    resources: { downtimes: { path: "/downtimes" }, maintenances: { path: "/maintenances" }, pauses: { path: "/pauses" } },
    title: () => "Downtime, maintenance, pauses, kept out",
    draw: ({ downtimes = [], maintenances = [], pauses = [] }) => {
      const [down, stale] = [downtimes.filter((each) => each.downtime), downtimes.filter((each) => each.stale)];
      return [
        h("h2", {}, `Downtime: ${plural(down.length, "server")}`),
        table(["Server", "Who", "Why", "Since", "Until"], down.map((each) => ({ key: each.server, cells: [onServer(each.server), each.downtime.owner, each.downtime.reason, time(each.downtime.begun_ms), [time(each.downtime.ends_ms, { ago: false }), h("span", { class: "quiet under" }, `${seconds((each.downtime.ends_ms - Date.now()) / 1000)} left`)]] })), "No server is in downtime."),
        h("h2", {}, `Maintenance: ${plural(maintenances.length, "server")}`),
        table(["Server", "Who", "Why", "Since", "Until"], maintenances.map((each) => ({ key: each.number, cells: [onServer(each.key), each.owner, each.reason, time(each.begun_ms), time(each.ends_ms, { ago: false })] })), "No server is in maintenance."),
        h("h2", {}, `Writes paused: ${plural(pauses.length, "pause")}`),
        table(["Cluster", "Who", "Why", "Since"], pauses.map((each) => ({ key: each.cluster, cells: [each.cluster || "all", each.by || "somebody", each.reason, time(each.since_ms)] })), "Nothing is paused."),
        h("h2", {}, `Kept out: ${plural(stale.length, "server")}`),
        table(["Server", "State", "Since", "Transactions that only it has", "Recovery"], stale.map((each) => ({ key: each.server, cells: [onServer(each.server), sign(each.stale.status === "quarantined" ? "critical" : "warning", each.stale.status), time(each.stale.since_ms), each.stale.extra ? h("code", {}, each.stale.extra) : "–", link(`recovery/${each.stale.recovery_id}`, {}, "recovery")] })), "No old primary is kept out."),
      ];
    },
  };
}
