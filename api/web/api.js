/* The native API of the node that gave this page. An error is an Error whose text is fit for people: problem+json's
 * detail, or what went wrong on the way. */

export const HOME = new URL(document.baseURI).pathname; /* ".../web/" */
const ROOT = HOME.replace(/web\/$/, "");

/** Names are replaced by the server, on every read; nothing that has names is asked for, and nothing can be done. */
export const ANONYMOUS = new URLSearchParams(location.search).get("anonymize") === "true";

export class Failed extends Error {
  constructor(title, detail, status) {
    super(detail);
    this.title = title;
    this.status = status;
  }
}

export function url(path) {
  return `${ROOT}api/v2${path}`;
}

/** A path from its parts, each of them one segment: path`/servers/${name}/downtime`. */
export function path(words, ...values) {
  return words.reduce((whole, word, i) => whole + word + (i < values.length ? encodeURIComponent(values[i]) : ""), "");
}

export async function get(where, { accepts = [] } = {}) {
  const asked = ANONYMOUS ? `${where}${where.includes("?") ? "&" : "?"}anonymize=true` : where;
  return (await ask("GET", asked, undefined, accepts)).value;
}

/** Change something. Answers {value, follow}: `follow` is the id of a recovery that goes on. */
export async function change(method, where, body) {
  const { value, response } = await ask(method, where, body, []);
  const follow = response.status === 202 ? (response.headers.get("Location") || "").split("/").pop() : "";
  return { value, follow };
}

async function ask(method, where, body, accepts) {
  const options = { method, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(method === "GET" ? 10000 : 120000) };
  if (body !== undefined && Object.keys(body).length) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(url(where), options);
  } catch (error) {
    throw new Failed("No answer", error.name === "TimeoutError" ? "This node took too long to answer." : "This node does not answer.", 0);
  }
  const text = await response.text();
  const value = parsed(text);
  if (!response.ok && !accepts.includes(response.status))
    throw new Failed(value?.title || `Status ${response.status}`, value?.detail || text.slice(0, 500) || response.statusText, response.status);
  return { value, response };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
