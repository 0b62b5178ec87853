/* Recoveries: the list, and the timeline of one of them. */
import { path, url } from "./api.js";
import { acknowledge, fleetSwitches } from "./act.js";
import { actions } from "./dialog.js";
import { h } from "./dom.js";
import { pager, pageOf } from "./lists.js";
import { end, link, millis, name, plural, seconds, sign, time } from "./words.js";

export const TABS = [["audit-recovery", "Recoveries"], ["audit-failure-detection", "Detected failures"]];

export function tabs(current) {
  return h("nav", { class: "tabs", "aria-label": "Lists" }, TABS.map(([to, label]) => link(to, { key: to, "aria-current": to === current ? "page" : null }, label)));
}

/** words: [page] | ["cluster", name, page] | ["alias", alias, page], as the peers have them. */
export function recoveriesView(words, query) {
  const [kind, value] = words;
  const filter = kind === "cluster" ? ["name", value] : kind === "alias" ? ["alias", value] : null;
  const page = pageOf(words, query);
  const every = query.get("every") === "true";
  const open = query.get("unacknowledged") === "true";
  const asked = new URLSearchParams({ page, ...(filter ? { [filter[0]]: filter[1] } : {}), ...(every ? { every: true } : {}), ...(open ? { unacknowledged: true } : {}) });
  const here = (more) => {
    const found = new URLSearchParams({ ...(every ? { every: true } : {}), ...(open ? { unacknowledged: true } : {}), ...more });
    for (const [key, each] of [...found]) if (each === "false" || (key === "page" && each === "0")) found.delete(key);
    return `audit-recovery${filter ? `/${kind}/${encodeURIComponent(value)}` : ""}?${found}`;
  };
  return {
    name: "recoveries",
    resources: { recoveries: { path: `/recoveries?${asked}` }, fleet: { path: "/fleet" } },
    title: () => (filter ? `Recoveries of ${value}` : "Recoveries"),
    draw: ({ recoveries, fleet }) => [
      h("div", { class: "bar" }, tabs("audit-recovery"), fleet && actions(fleetSwitches(fleet))),
      h("p", { class: "filters" }, toggle(here, "unacknowledged", open, "Only not acknowledged"), toggle(here, "every", every, "Also returns of old primaries and upkeep")),
      recoveries && table(recoveries),
      recoveries && pager(page, recoveries.length, (to) => here({ page: to })),
    ],
  };
}

function toggle(here, key, on, label) {
  return link(here({ [key]: String(!on), page: 0 }), { class: `toggle ${on ? "on" : ""}`, "data-stay": true, "aria-pressed": null, "aria-current": on ? "true" : null }, on ? "☑ " : "☐ ", label);
}

function table(recoveries) {
  if (!recoveries.length) return h("p", { class: "card quiet" }, "None.");
  return h("div", { class: "card wide" }, h("table", {},
    h("thead", {}, h("tr", {}, ["", "End", "What", "Of", "New primary", "Began", "Took", "Acknowledged"].map((each, i) => h("th", { key: i, scope: "col" }, each || h("span", { class: "unseen" }, "Number"))))),
    h("tbody", {}, recoveries.map((each) => h("tr", { key: each.id },
      h("th", { scope: "row", "data-label": "Number" }, link(`recovery/${each.id}`, {}, `#${each.number}`)),
      h("td", { "data-label": "End" }, end(each)),
      h("td", { "data-label": "What" }, link(`recovery/${each.id}`, {}, each.subject.code), h("span", { class: "quiet under" }, kindWords(each))),
      h("td", { "data-label": "Of" }, h("span", { class: "address" }, name(each.subject.key)), h("span", { class: "quiet under" }, each.subject.cluster_alias)),
      h("td", { "data-label": "New primary", class: "address" }, each.promoted ? name(each.successor) : "–"),
      h("td", { "data-label": "Began" }, time(each.started_ms)),
      h("td", { "data-label": "Took", class: "number" }, each.finished_ms ? took(each) : sign("busy", "still running")),
      h("td", { "data-label": "Acknowledged" }, each.acknowledged ? [each.acknowledged.by || "somebody", h("span", { class: "quiet under" }, each.acknowledged.comment)] : "no"))))));
}

/** From the first sign of it to its end. */
function took(recovery) {
  return millis(recovery.finished_ms - (recovery.timeline[0]?.at_ms ?? recovery.started_ms));
}

function kindWords(recovery) {
  const by = recovery.request.by || recovery.request.command;
  return `${recovery.kind.replaceAll("_", " ")}${by ? `, asked for by ${recovery.request.by || "somebody"}` : ""}`;
}

export function recoveryView(id) {
  return {
    name: `recovery ${id}`,
    resources: { kinds: { path: "/recovery-kinds" }, recovery: { path: /^\d+$/.test(id) ? `/recoveries?id=${id}&every=true` : path`/recoveries/${id}` } },
    wants: (event, each) => !each.where.includes("kinds") && ("recovery_id" in event ? event.recovery_id === one(each.value)?.id : ["poll", "reset"].includes(event.type)),
    title: ({ recovery }) => (one(recovery) ? `Recovery #${one(recovery).number}: ${one(recovery).subject.code}` : "Recovery"),
    draw: ({ recovery, kinds = [] }) => (recovery === undefined ? h("p", { class: "quiet" }, "Loading …") : one(recovery) ? page(one(recovery), kinds.find((each) => each.name === one(recovery).kind)) : h("p", { class: "card" }, "There is no such recovery, or it was long ago: the newest 200 are kept.")),
  };
}

/** A recovery by number comes in a list. */
function one(value) {
  return Array.isArray(value) ? value[0] : value;
}

function page(recovery, kind) {
  const { subject, request } = recovery;
  return [
    h("div", { class: "bar" },
      h("p", { class: "summary" }, end(recovery), ` ${kindWords(recovery)} of `, h("span", { class: "address" }, name(subject.key)),
        recovery.promoted ? [", new primary ", h("strong", { class: "address" }, name(recovery.successor))] : "", recovery.finished_ms ? `, took ${took(recovery)}` : `, in phase ${recovery.phase}`),
      h("div", { class: "actions" }, h("a", { class: "button", href: url(path`/recoveries/${recovery.id}`), download: `recovery-${recovery.number}.json` }, "Export JSON"),
        !recovery.acknowledged && recovery.end !== "running" && actions([acknowledge(recovery)]))),
    h("div", { class: "columns" },
      h("div", {}, h("section", { class: "card" }, h("h2", {}, "What happened"), timeline(recovery, kind?.phases || {})), list("Evidence", subject.evidence)),
      h("div", {},
        facts(recovery),
        recovery.lost_gtids && section("Transactions that only the old primary has", h("pre", { class: "gtids" }, recovery.lost_gtids)),
        list("Not chosen, and why", recovery.refused.map((each) => [h("span", { class: "address" }, name(each.key)), `: ${each.reason}`])),
        list("Notes and outputs of hooks", recovery.errors),
        list("Did not follow", recovery.lost.map((each) => name(each))),
        list("Out of reach when they were replaced", recovery.stale.map((each) => name(each))),
        request.reason && section("Asked for because", h("p", {}, request.reason)))),
  ];
}

function section(title, ...body) {
  return h("section", { class: "card", key: title }, h("h2", {}, title), body);
}

function list(title, items) {
  return items.length ? section(title, h("ul", {}, items.map((each, i) => h("li", { key: i }, each)))) : "";
}

function facts(recovery) {
  const { subject } = recovery;
  const lines = [
    ["Cluster", link(`cluster/${recovery.cluster_id}`, {}, subject.cluster_alias || subject.cluster_name)],
    ["Found", subject.text || subject.code],
    ["Began", time(recovery.started_ms, { ago: false })],
    recovery.finished_ms && ["Ended", time(recovery.finished_ms, { ago: false })],
    ["Loss", recovery.lost_gtids ? "see below" : recovery.promised ? "none: semi-sync promised it" : recovery.unpromised_because ? `not promised: ${recovery.unpromised_because}` : "nothing was promised"],
    recovery.moved.length && ["Follow now", recovery.moved.map((each) => name(each)).join(", ")],
    ["Carried out by", `${recovery.holder}, term ${recovery.term}`],
    recovery.request.request_id && ["Request", h("code", {}, recovery.request.request_id)],
    ["Id", h("code", {}, recovery.id)],
    ["Audit", link(`audit?text=${recovery.id}`, {}, "entries about it, hooks among them")],
    ["Acknowledged", recovery.acknowledged ? [`${recovery.acknowledged.by || "somebody"}: ${recovery.acknowledged.comment}, `, time(recovery.acknowledged.at_ms)] : "no"],
  ];
  return section("In short", h("dl", {}, lines.filter(Boolean).map(([term, value]) => h("div", { key: term }, h("dt", {}, term), h("dd", {}, value)))));
}

function timeline(recovery, phases) {
  const first = recovery.timeline[0]?.at_ms ?? recovery.started_ms;
  const last = Math.max(first + 1, recovery.finished_ms || recovery.timeline.at(-1)?.at_ms || first);
  return [
    h("ol", { class: "timeline" }, recovery.timeline.map((mark, i) => {
      const before = i ? recovery.timeline[i - 1].at_ms : first;
      const share = (ms) => `${(((ms - first) / (last - first)) * 100).toFixed(1)}%`;
      return h("li", { key: i, class: mark.name === "phase" ? "phase" : "" },
        h("span", { class: "number", title: `UTC ${new Date(mark.at_ms).toISOString()}` }, millis(mark.at_ms - first)),
        h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "span", place: { left: share(before), width: share(first + mark.at_ms - before) } })),
        h("span", { class: "mark" }, h("strong", {}, mark.name === "phase" ? mark.text : mark.name), mark.name === "phase" ? h("span", { class: "quiet" }, ` ${phases[mark.text] || ""}`) : ` ${mark.text}`));
    })),
    h("p", { class: "quiet" }, plural(recovery.timeline.length, "entry", "entries"), `, ${seconds((last - first) / 1000)} in all. Milliseconds since the first.`),
  ];
}
