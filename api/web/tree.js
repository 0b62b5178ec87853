/* Where each server of a cluster stands on the page: pure, from rows to places.
 * Sources are left of their replicas. Of many healthy replicas that nobody follows, a few are drawn and the rest is one
 * box. Rings of replication and servers without a known source begin at the left, so nobody is ever left out. */

export const BOX = { width: 236, height: 74, gapX: 44, gapY: 12 };
const HEALTHY_SHOWN = 6;
const LAG_NOTED_S = 10;

/** Is there nothing about this server that people should see? */
export function isCalm(row) {
  return row.reached !== false && !row.downtime && !row.maintenance && !row.stale && !row.is_primary && !row.is_co_primary && !row.delay_s &&
    row.troubles.every((each) => each.severity === "note") && (row.lag_s === null || row.lag_s < LAG_NOTED_S);
}

/** {nodes, edges, width, height}: a node is {key, x, y, depth, row} or {key, x, y, depth, group: rows, parent}. */
export function layout(rows, { expanded = new Set(), pinned = "" } = {}) {
  const byKey = new Map(rows.map((row) => [row.server, row]));
  const below = new Map(rows.map((row) => [row.server, []]));
  for (const row of rows) if (isBelow(row, byKey)) below.get(row.source).push(row);
  const scene = { below, expanded, pinned, seen: new Set(), nodes: [], edges: [], next: 0 };
  const kept = rows.filter((row) => row.stale);
  const roots = rows.filter((row) => !row.stale && !isBelow(row, byKey));
  roots.sort((a, b) => Number(b.is_primary) - Number(a.is_primary));
  for (const row of roots) place(scene, row, 0);
  for (const row of rows) if (!row.stale && !scene.seen.has(row.server)) place(scene, row, 0);
  const regular = scene.next;
  if (kept.length) scene.next += 0.5;
  for (const row of kept) place(scene, row, 0);
  for (const row of rows) addOddEdges(scene, row, byKey);
  const depth = Math.max(0, ...scene.nodes.map((each) => each.depth));
  return {
    nodes: scene.nodes, edges: scene.edges, keptFrom: kept.length ? y(regular + 0.5) : null,
    width: (depth + 1) * (BOX.width + BOX.gapX) - BOX.gapX, height: Math.max(BOX.height, y(scene.next) - BOX.gapY),
  };
}

function isBelow(row, byKey) {
  return !row.is_co_primary && !row.stale && row.source !== row.server && byKey.has(row.source) && !byKey.get(row.source).stale;
}

function y(slot) {
  return slot * (BOX.height + BOX.gapY);
}

function place(scene, row, depth) {
  if (scene.seen.has(row.server)) return null;
  scene.seen.add(row.server);
  const node = { key: row.server, depth, x: depth * (BOX.width + BOX.gapX), y: 0, row };
  scene.nodes.push(node);
  const { drawn, folded } = fold(scene, row);
  const places = drawn.map((each) => place(scene, each, depth + 1)).filter(Boolean);
  for (const each of places) scene.edges.push({ from: node, to: each, kind: kindOf(each.row) });
  if (folded.length) places.push(group(scene, node, folded));
  if (places.length) node.y = (places[0].y + places[places.length - 1].y) / 2;
  else node.y = y(scene.next++);
  return node;
}

/** Which replicas of a server are drawn, and which are one box. */
function fold(scene, row) {
  const replicas = scene.below.get(row.server) || [];
  const calm = replicas.filter((each) => isCalm(each) && !scene.below.get(each.server).length && each.server !== scene.pinned);
  if (scene.expanded.has(row.server) || calm.length <= HEALTHY_SHOWN) return { drawn: replicas, folded: [] };
  const folded = calm.slice(HEALTHY_SHOWN - 1);
  for (const each of folded) scene.seen.add(each.server);
  const hidden = new Set(folded);
  return { drawn: replicas.filter((each) => !hidden.has(each)), folded };
}

function group(scene, parent, rows) {
  const node = { key: `more ${parent.key}`, depth: parent.depth + 1, x: (parent.depth + 1) * (BOX.width + BOX.gapX), y: y(scene.next++), group: rows, parent: parent.key };
  scene.nodes.push(node);
  scene.edges.push({ from: parent, to: node, kind: "running" });
  return node;
}

function kindOf(row) {
  if (!row.receiver && !row.applier) return "unknown";
  return row.receiver === "running" && row.applier === "running" ? "running" : "broken";
}

/** What goes back to the left: a ring, co-primaries, a server kept out that still names a source. */
function addOddEdges(scene, row, byKey) {
  if (!row.source || !byKey.has(row.source)) return;
  const drawn = scene.edges.some((each) => each.to.key === row.server && each.from.key === row.source);
  const from = scene.nodes.find((each) => each.key === row.source);
  const to = scene.nodes.find((each) => each.key === row.server);
  if (!drawn && from && to && from !== to) scene.edges.push({ from, to, kind: kindOf(row), odd: true });
}

/** The path of a line between two boxes. */
export function curve({ from, to, odd }) {
  const middle = BOX.height / 2;
  if (odd) {
    const [x1, y1, x2, y2] = [from.x, from.y + middle, to.x, to.y + middle];
    return `M${x1} ${y1}C${x1 - 34} ${y1} ${x2 - 34} ${y2} ${x2} ${y2}`;
  }
  const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + middle, to.x, to.y + middle];
  const bend = (x2 - x1) / 2;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
