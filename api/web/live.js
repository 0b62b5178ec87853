/* What the server tells as it happens, and resources that are read again when something did.
 * The stream resumes by itself (EventSource); what was missed meanwhile is read anew. */
import { ANONYMOUS, get, url } from "./api.js";

const LEAST_PAUSE_MS = 300;
const POLL_MS = 5000;
const GRACE_MS = 2000; /* a stream ends once an hour, and comes back at once */

/** One GET whose newest value is kept. Asked again while an answer is under way, it is asked once more afterwards. */
export class Resource {
  constructor(where, { accepts = [] } = {}) {
    this.where = where;
    this.accepts = accepts;
    this.value = undefined;
    this.error = null;
    this.at = 0;
    this.askedAt = -Infinity; /* by performance.now() */
    this.busy = false;
    this.again = false;
  }

  async refresh() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    do {
      this.again = false;
      const begun = (this.askedAt = performance.now());
      try {
        this.value = await get(this.where, { accepts: this.accepts });
        this.error = null;
        this.at = Date.now();
      } catch (error) {
        this.error = error;
      }
      live.changed();
      const rest = LEAST_PAUSE_MS - (performance.now() - begun);
      if (this.again && rest > 0) await new Promise((done) => setTimeout(done, rest));
    } while (this.again);
    this.busy = false;
  }
}

export const live = {
  status: "connecting",
  since: Date.now(),
  lags: new Map() /* server -> {reached, replicates, lag_s}, as the leader saw it last */,
  changed: () => {},
  onnews: () => {},
};

let source = null;

export function follow() {
  if (ANONYMOUS) return setStatus("polling"); /* the stream has names */
  source?.close();
  source = new EventSource(url("/events?servers=true"));
  source.onopen = () => {
    const wasDown = live.status === "lost";
    setStatus("live");
    if (wasDown) live.onnews({ type: "reset" });
  };
  source.onerror = () => {
    setTimeout(() => {
      if (source.readyState === EventSource.OPEN) return;
      setStatus("lost");
      live.onnews({ type: "poll" });
    }, GRACE_MS);
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 1000);
  };
  source.addEventListener("servers", (event) => {
    let news = false;
    for (const [server, each] of Object.entries(JSON.parse(event.data))) {
      const before = live.lags.get(server);
      news ||= before !== undefined && (before.reached !== each.reached || before.replicates !== each.replicates);
      live.lags.set(server, each);
    }
    live.changed();
    if (news) live.onnews({ type: "servers" });
  });
  source.addEventListener("problems", () => live.onnews({ type: "problems" }));
  source.addEventListener("reset", () => live.onnews({ type: "reset" }));
  for (const type of TYPES) source.addEventListener(type, (event) => live.onnews(JSON.parse(event.data)));
}

function setStatus(status) {
  if (status === live.status) return;
  live.status = status;
  live.since = Date.now();
  live.changed();
}

const TYPES = [
  "server-discovered", "server-forgotten", "server-reachable", "server-unreachable", "server-cluster-changed",
  "source-changed", "read-only-changed", "cluster-appeared", "cluster-gone", "primary-changed", "alias-changed",
  "promise-changed", "problem-detected", "recovery-started", "recovery-phase", "recovery-promoted", "recovery-ended",
  "recovery-acknowledged", "downtime-begun", "downtime-ended", "downtime-changed", "stale-primary-begun",
  "stale-primary-changed", "stale-primary-ended", "recoveries-disabled", "recoveries-enabled", "tags-changed",
  "promotion-rule-begun", "promotion-rule-ended", "promotion-rule-changed", "writes-paused", "writes-resumed",
  "maintenance-begun", "maintenance-ended", "maintenance-changed",
];

setInterval(() => {
  if (!document.hidden) live.onnews({ type: "poll" });
}, POLL_MS);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) live.onnews({ type: "poll" });
});
