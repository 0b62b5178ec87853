/* The one dialog in which things are done: what will happen, a confirmation, and how it goes on.
 * Rules: nothing changes without a confirmation; whatever the server answers is shown; who may not write is offered
 * nothing. Closing the dialog stops nothing that has begun. */
import { get, path } from "./api.js";
import { h } from "./dom.js";
import { live } from "./live.js";
import { ENDS, end, link, name, seconds, sign } from "./words.js";

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

/** The same in groups that open and close; the first is open. */
export function menu(groups) {
  if (!writer) return "";
  return h("div", { class: "menu", role: "group", "aria-label": "What can be done" }, groups.map(([title, found], i) =>
    h("details", { key: title, oncreate: (el) => { el.open = i === 0; } }, h("summary", {}, title), actions(found))));
}

/** Open the dialog: {title, text, label, fields, typeThis, level, planOf(values), run(values)}. */
export function open(given) {
  now = { fields: [], values: {}, typed: "", plan: undefined, error: null, done: null, recovery: null, busy: false, asked: 0, from: document.activeElement, ...given };
  for (const each of now.fields) now.values[each.name] = each.value ?? "";
  if (now.planOf) loadPlan();
  live.changed();
}

/** Ask for the plan of what is chosen now; until it is there nothing can be confirmed, and an older answer is dropped. */
async function loadPlan() {
  const mine = now;
  const number = ++mine.asked;
  mine.plan = undefined;
  mine.refused = null;
  try {
    const planned = await mine.planOf(mine.values);
    if (number !== mine.asked) return;
    mine.plan = planned;
  } catch (error) {
    if (number !== mine.asked) return;
    const unplannable = error.status === 400 && error.message.includes("dry_run"); /* a leader of an older version */
    mine.plan = null;
    mine.refused = unplannable ? null : error;
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
      given.done && !given.error && outcome(given),
      given.recovery && progress(given.recovery),
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: closeDialog }, given.done ? "Close" : "Cancel"),
        !given.done && h("button", { type: "submit", class: given.level || "main", disabled: !ready(given) || given.busy }, given.busy ? "Working …" : given.label))));
}

/** What came of it: the server's words as long as it goes on, then how it ended. */
function outcome({ done, recovery, busy }) {
  if (!recovery || recovery.end === "running") return h("p", { class: `banner ${busy ? "busy" : "good"}`, role: "status" }, done);
  const [kind, word] = ENDS[recovery.end] || ["unknown", recovery.end];
  const hasWorked = kind === "good";
  return h("p", { key: "end", class: `banner ${kind}`, role: hasWorked ? "status" : "alert" }, h("strong", {}, sign(kind, `It ${hasWorked ? "has " : "ended: "}${word}.`)),
    hasWorked ? "" : " What happened is below.");
}

function input(each, given) {
  const change_ = (event) => {
    given.values[each.name] = event.target.type === "checkbox" ? event.target.checked : event.target.value;
    if (given.planOf && each.plans) loadPlan();
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
  if (!given.plan) return h("p", {}, "The leader cannot tell the steps of this beforehand.");
  const { text, how, stages = [], warnings = [], left_out = [], expected_block_s } = given.plan;
  return h("div", { class: "plan" }, h("h3", {}, "What will be done"), h("p", {}, text, how ? `, by ${how}` : "", "."),
    h("ol", {}, stages.map((each, i) => h("li", { key: i }, stages.length > 1 || each.text !== text ? each.text : "In one step:", each.steps.length ? h("ul", { class: "quiet" }, each.steps.map((step, j) => h("li", { key: j }, step))) : ""))),
    h("p", {}, expected_block_s ? `Writes are expected to wait at most ${seconds(expected_block_s)}.` : "Writes do not wait.", how ? " What fails is put back." : ""),
    warnings.map((each, i) => h("p", { key: `w${i}` }, sign("warning", "Mind:"), ` ${each}`)),
    left_out.map((each, i) => h("p", { key: `l${i}`, class: "quiet" }, `Not ${each.key}: ${each.reason}`)));
}

/** A recovery's steps so far. */
export function progress(recovery) {
  const begun = recovery.started_ms;
  return h("div", { class: "progress" }, h("p", {}, end(recovery), " ", link(`recovery/${recovery.id}`, {}, "everything about it")),
    h("ol", { class: "steps" }, recovery.timeline.map((mark, i) => h("li", { key: i }, h("span", { class: "number" }, `${mark.at_ms - begun} ms`), ` ${mark.name} ${mark.text}`))),
    recovery.errors.map((each, i) => h("p", { key: i }, sign("warning", "Note:"), ` ${each}`)));
}
