/* All clusters, worst first. */
import { h, memo } from "./dom.js";
import { live } from "./live.js";
import { openDiscover } from "./act.js";
import { actions } from "./dialog.js";
import { chip, clusterName, clusterPath, end, link, name, plural, seconds, sign, time } from "./words.js";

const SHOWN_PROBLEMS = 3;

export function fleetView(query) {
  const text = (query.get("s") || "").toLowerCase();
  return {
    name: "fleet",
    resources: { fleet: { path: "/fleet" } },
    title: () => (text ? `Fleet: “${query.get("s")}”` : "Fleet"),
    draw: ({ fleet }) => (fleet ? page(fleet, text) : h("p", { class: "quiet" }, "Loading …")),
  };
}

function page(fleet, text) {
  const clusters = fleet.clusters.filter((each) => !text || found(each, text));
  return [
    summary(fleet, clusters),
    clusters.length
      ? h("div", { class: "card wide" }, h("table", { class: "fleet" },
          h("thead", {}, h("tr", {}, ["State", "Cluster", "Primary", "Servers", "Lag", "If the primary dies", "Last recovery"].map((each) => h("th", { key: each, scope: "col" }, each)))),
          clusters.map((each) => memo(each.id, [JSON.stringify(each), lagOf(each), minute()], () => row(each, text)))))
      : h("p", { class: "card quiet" }, fleet.clusters.length ? "Nothing has that text." : "No cluster is known yet. Discover one of its servers, and the others are found."),
  ];
}

function minute() {
  return Math.floor(Date.now() / 10000);
}

/** A cluster is found by its names, its servers, and what is known of them. */
function found(cluster, text) {
  const words = [cluster.id, cluster.name, cluster.alias, cluster.domain, ...cluster.words, ...cluster.servers, ...cluster.troubles.map((each) => each.code)];
  return words.some((each) => each.toLowerCase().includes(text));
}

function summary(fleet, clusters) {
  const servers = clusters.reduce((sum, each) => sum + each.servers.length, 0);
  const count = (severity) => clusters.reduce((sum, each) => sum + each.troubles.filter((one) => one.severity === severity).length, 0);
  const [critical, warnings] = [count("critical"), count("warning")];
  return h("div", { class: "bar" },
    h("p", { class: "summary" }, `${plural(clusters.length, "cluster")}, ${plural(servers, "server")}. `,
      critical ? sign("critical", `${critical} critical`) : "", " ", warnings ? sign("warning", plural(warnings, "warning")) : "",
      !critical && !warnings && fleet.looked ? sign("good", "nothing is wrong") : ""),
    actions([["Discover …", () => openDiscover()]]));
}

/** The worst that holds for a cluster, as a sign and a word. */
export function state(cluster, looked = true) {
  if (cluster.running) return ["busy", cluster.running.kind === "takeover" ? "takeover" : "recovering"];
  if (!looked) return ["unknown", "unknown"];
  const worst = cluster.troubles[0]?.severity;
  if (worst === "critical" || worst === "warning") return [worst, worst];
  return ["good", "ok"];
}

function lagOf(cluster) {
  const lags = cluster.servers.map((each) => live.lags.get(each)?.lag_s).filter((each) => each !== null && each !== undefined);
  return lags.length ? Math.max(...lags) : cluster.lag_max_s;
}

function row(cluster, text) {
  const lag = lagOf(cluster);
  const troubles = cluster.troubles.filter((each) => each.severity !== "note");
  const hit = text ? cluster.servers.filter((each) => each.toLowerCase().includes(text)) : [];
  return h("tbody", { class: "cluster" },
    h("tr", {},
      h("td", { "data-label": "State" }, sign(...state(cluster))),
      h("th", { scope: "row" }, link(clusterPath(cluster), {}, clusterName(cluster)), cluster.alias !== cluster.name && h("span", { class: "quiet under" }, cluster.domain || cluster.id), cluster.pause && chip("warning", cluster.pause.reason, "paused")),
      h("td", { "data-label": "Primary", class: "address" }, cluster.primary ? name(cluster.primary) : sign("critical", "none")),
      h("td", { "data-label": "Servers" }, servers(cluster)),
      h("td", { "data-label": "Lag", class: "number" }, lag === null || lag === undefined ? "–" : seconds(lag)),
      h("td", { "data-label": "If the primary dies" }, outlook(cluster)),
      h("td", { "data-label": "Last recovery" }, cluster.last ? last(cluster.last) : h("span", { class: "quiet" }, "none"))),
    troubles.length + hit.length > 0 && h("tr", { class: "problems" }, h("td", {}), h("td", { colspan: 6 },
      hit.slice(0, 8).map((each) => h("p", { key: `hit ${each}` }, link(`${clusterPath(cluster)}?server=${encodeURIComponent(each)}`, {}, name(each)))),
      troubles.slice(0, SHOWN_PROBLEMS).map((each, i) => h("p", { key: `${each.server} ${each.code} ${i}` }, sign(each.severity, each.code), " ",
        h("span", { class: "address" }, name(each.server)), ` ${each.text}`)),
      troubles.length > SHOWN_PROBLEMS && h("p", {}, link(clusterPath(cluster), {}, `${troubles.length - SHOWN_PROBLEMS} more`)))));
}

function servers(cluster) {
  const all = cluster.servers.length;
  const away = all - cluster.reached;
  return [`${all}`, away ? h("span", { class: "under bad" }, `${away} not reached`) : "", cluster.downtimed ? h("span", { class: "under quiet" }, `${cluster.downtimed} in downtime`) : "",
    cluster.kept_out ? h("span", { class: "under bad" }, `${cluster.kept_out} kept out`) : ""];
}

export function outlook(cluster) {
  const auto = cluster.automatic_failover;
  const promise = cluster.no_loss_promise;
  return [
    auto.possible ? chip("good", "The best replica takes over by itself", "fails over") : chip(auto.by_choice ? "" : "warning", auto.because, auto.by_choice ? "by hand only" : "no failover"),
    " ",
    promise.holds ? chip("good", "No acknowledged write is lost", "no loss") : chip("", promise.because, "loss possible"),
  ];
}

function last(recovery) {
  return [end(recovery), " ", link(`recovery/${recovery.id}`, {}, time(recovery.finished_ms || recovery.started_ms)), !recovery.is_acknowledged && h("span", { class: "under quiet" }, "not acknowledged")];
}
