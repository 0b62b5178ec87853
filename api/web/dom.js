/* What is on the screen follows from values: a view returns a tree of plain objects, and only differences reach the
 * document. Rules: a text becomes a text node, whatever is in it; attributes are set by name, never as markup; a handler
 * is a function, never a text. There is no way in here to make markup of a text. */

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "g", "circle", "title-svg", "line", "rect"]);
const PROPERTIES = new Set(["value", "checked", "disabled", "open", "selected", "indeterminate"]);

/** An element: h("p", {class: "note", onclick: f, key: 7}, child, "text", [more]). Null, false and "" leave no trace. */
export function h(tag, props, ...children) {
  return { tag, props: props || {}, key: props?.key, children: flat(children) };
}

/** A part that is drawn anew only when one of `given` is another one than before. */
export function memo(key, given, draw) {
  return { memo: draw, given, key, tag: "memo" };
}

function flat(children, into = []) {
  for (const child of children) {
    if (Array.isArray(child)) flat(child, into);
    else if (child && typeof child === "object") into.push(child);
    else if (child !== null && child !== undefined && child !== false && child !== true && child !== "")
      into.push({ text: String(child) });
  }
  return into;
}

/** Make `container` hold these children, and nothing else. */
export function render(container, ...children) {
  const wanted = flat(children);
  reconcile(container, container.drawn || [], wanted);
  container.drawn = wanted;
}

function create(node) {
  if (node.text !== undefined) return (node.el = document.createTextNode(node.text));
  if (node.memo) {
    node.inner = node.memo();
    return (node.el = create(node.inner));
  }
  const el = SVG_TAGS.has(node.tag) ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  node.el = el;
  reconcile(el, [], node.children);
  for (const [name, value] of Object.entries(node.props)) set(el, name, value);
  node.props.oncreate?.(el);
  return el;
}

function same(old, node) {
  return (old.text !== undefined) === (node.text !== undefined) && old.tag === node.tag && old.key === node.key;
}

function patch(old, node) {
  const el = (node.el = old.el);
  if (node.text !== undefined) {
    if (node.text !== old.text) el.data = node.text;
    return;
  }
  if (node.memo) return patchMemo(old, node);
  reconcile(el, old.children, node.children);
  for (const name of Object.keys(old.props)) if (!(name in node.props)) set(el, name, null);
  for (const [name, value] of Object.entries(node.props))
    if (value !== old.props[name] || PROPERTIES.has(name)) set(el, name, value, old.props[name]);
}

function patchMemo(old, node) {
  const unchanged = old.given.length === node.given.length && old.given.every((each, i) => each === node.given[i]);
  node.inner = unchanged ? old.inner : node.memo();
  if (unchanged) return;
  if (same(old.inner, node.inner)) patch(old.inner, node.inner);
  else old.el.replaceWith(create(node.inner));
  node.el = node.inner.el;
}

function reconcile(parent, old, wanted) {
  const keyed = new Map();
  const loose = [];
  for (const each of old) each.key !== undefined ? keyed.set(each.key, each) : loose.push(each);
  const found = wanted.map((node) => (node.key !== undefined ? taken(keyed, node) : take(loose, node)));
  for (const each of [...keyed.values(), ...loose]) each?.el.remove();
  let place = parent.firstChild;
  wanted.forEach((node, i) => {
    if (found[i]) {
      const before = found[i].el;
      patch(found[i], node);
      if (place === before) place = node.el;
    } else create(node);
    if (node.el === place) place = place.nextSibling;
    else parent.insertBefore(node.el, place);
  });
}

function taken(keyed, node) {
  const found = keyed.get(node.key);
  if (!found || !same(found, node)) return undefined;
  keyed.delete(node.key);
  return found;
}

/** The first old one without a key that fits; so a list without keys keeps its order. */
function take(loose, node) {
  const index = loose.findIndex((each) => each && same(each, node));
  if (index < 0) return undefined;
  const found = loose[index];
  loose[index] = undefined;
  return found;
}

function set(el, name, value, before) {
  if (name === "key" || name === "oncreate") return;
  if (name.startsWith("on")) el[name] = value || null;
  else if (name === "place") {
    for (const [one, each] of Object.entries(value || {})) if (before?.[one] !== each) el.style.setProperty(one, each);
  }
  else if (PROPERTIES.has(name)) {
    if (el[name] !== value) el[name] = value ?? "";
  } else if (value === null || value === undefined || value === false) el.removeAttribute(name);
  else el.setAttribute(name, value === true ? "" : String(value));
}
