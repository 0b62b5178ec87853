/* How values are told to people: names, times, durations, signs. A sign never stands without its word. */
import { ANONYMOUS } from "./api.js";
import { h } from "./dom.js";

const HIDDEN = document.querySelector("meta[name=hidden-in-host-names]")?.content || "";
const DAY_S = 86400;

/** A server's name as people want to see it. */
export function name(server, alias) {
  const text = alias || server || "";
  return HIDDEN ? text.split(HIDDEN).join("") : text;
}

export function clusterName(cluster) {
  return cluster.alias || name(cluster.name);
}

/** What an address says of a cluster: its alias where that is plain, else its id, which never changes. */
export function clusterPath(cluster) {
  return `cluster/${!ANONYMOUS && /^[\w.-]+$/.test(cluster.alias) ? cluster.alias : cluster.id}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "unknown";
  if (value < 10 && value % 1) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 2 * DAY_S) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / DAY_S)} d`;
}

export function millis(value) {
  return value < 10000 ? `${value} ms` : seconds(value / 1000);
}

export function bytes(value) {
  if (value === null || value === undefined) return "unknown";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let rank = 0;
  while (value >= 1024 && rank < units.length - 1) {
    value /= 1024;
    rank += 1;
  }
  return `${value < 10 && rank ? value.toFixed(1) : Math.round(value)} ${units[rank]}`;
}

/** A moment in the reader's own zone, with UTC on hover. */
export function time(ms, { ago = true } = {}) {
  const date = new Date(ms);
  const own = date.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
  const passed = (Date.now() - ms) / 1000;
  const text = ago && passed >= 0 && passed < DAY_S ? `${seconds(passed)} ago` : own;
  return h("time", { datetime: date.toISOString(), title: `${own}\nUTC ${date.toISOString().replace("T", " ").slice(0, 23)}` }, text);
}

const SIGNS = { critical: "✖", warning: "▲", note: "○", good: "●", busy: "◆", downtime: "■", unknown: "?" };

/** A sign with its word; `word` may be hidden where the same stands beside it. */
export function sign(kind, word, { hidden = false } = {}) {
  return h("span", { class: `sign ${kind}` }, h("span", { "aria-hidden": "true", class: "glyph" }, SIGNS[kind]),
    h("span", { class: hidden ? "unseen" : "" }, ` ${word}`));
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

export function link(to, props, ...children) {
  return h("a", { href: to, ...props }, ...children);
}

export function chip(kind, title, ...children) {
  return h("span", { class: `chip ${kind}`, title: title || null }, ...children);
}

/** An id that is long: its beginning, and all of it on hover. */
export function short(id) {
  return id ? h("code", { title: id }, id.length > 12 ? `${id.slice(0, 10)}…` : id) : "";
}

export const ENDS = {
  succeeded: ["good", "succeeded"], failed: ["critical", "failed"], undone: ["warning", "undone"],
  "came back": ["note", "came back"], quarantined: ["critical", "quarantined"], abandoned: ["critical", "abandoned"],
  running: ["busy", "running"],
};

export function end(recovery) {
  const [kind, word] = ENDS[recovery.end] || ["unknown", recovery.end];
  return sign(kind, word);
}
