"use strict";
// Draws what /v1/events says. Every text is set as text, never as markup; what is changed goes through the same calls
// that docs/reference/fakeservers-control.md describes.

const $ = (id) => document.getElementById(id);
const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);
const NAMES = { apns: "APNs", fcm: "FCM" };
// received = accepted + rejected + unprocessed + cut
const PUSHES = {
  received: "pushes received",
  accepted: "accepted",
  rejected: "rejected",
  unprocessed: "unprocessed",
  cut: "cut",
};
const TRANSPORT = {
  connections_accepted: "connections accepted",
  connections_refused: "connections refused",
  connections_turned_away: "connections turned away",
  handshakes_failed: "TLS handshakes failed",
  streams_over_limit: "streams over the limit",
  streams_refused: "streams refused",
  streams_reset_by_server: "streams reset by the server",
  streams_reset_by_client: "streams reset by clients",
  goaways: "GOAWAYs sent",
  goaway_unprocessed: "requests left unprocessed",
  goaways_received: "GOAWAYs received",
  protocol_errors: "protocol errors",
};
const CHART = { points: 120, fewest: 30, width: 240, height: 44 };

let history = [];
let latest = null;
let paused = false;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return `${whole.format(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
}

function relativeTime(time, now) {
  const seconds = Math.max(0, now - time);
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Keeps one child per key, in order, so that what has the focus or is unfolded stays.
function reconcile(parent, items, keyOf, template, fill) {
  const existing = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let previous = null;
  for (const item of items) {
    const key = keyOf(item);
    const child = existing.get(key) || copyOf(template);
    existing.delete(key);
    child.dataset.key = key;
    fill(child, item);
    const next = previous ? previous.nextElementSibling : parent.firstElementChild;
    if (next !== child) parent.insertBefore(child, next);
    previous = child;
  }
  for (const child of existing.values()) child.remove();
}

// One value per second; the highest is the top of the chart, and is written under it with the time that the chart begins at.
function drawChart(chart, values, label, format) {
  const peak = Math.max(0, ...values);
  const seconds = Math.max(values.length, CHART.fewest) - 1;
  const step = CHART.width / seconds;
  const start = CHART.width - step * (values.length - 1);
  const line = values.map((value, index) => {
    const y = CHART.height - 2 - (value / (peak || 1)) * (CHART.height - 6);
    return `${(start + index * step).toFixed(1)},${y.toFixed(1)}`;
  });
  const closed = [`${start.toFixed(1)},${CHART.height}`, ...line, `${CHART.width},${CHART.height}`];
  chart.querySelector("polyline").setAttribute("points", line.join(" "));
  chart.querySelector("polygon").setAttribute("points", closed.join(" "));
  const since = seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 30) / 2} min`;
  setText(chart.querySelector(".start"), `${since} ago`);
  setText(chart.querySelector(".peak"), `peak ${format(peak)}`);
  chart.querySelector("svg").setAttribute("aria-label", `${label} in the last ${since}, at most ${format(peak)}`);
}

function drawCounters(list, names, service) {
  reconcile(list, Object.keys(names), (name) => name, "counter-template", (row, name) => {
    setText(row.querySelector("dt"), names[name]);
    setText(row.querySelector("dd"), whole.format(service[name]));
  });
}

function drawServices(state) {
  const services = Object.entries(state.services);
  reconcile($("services"), services, ([name]) => name, "service-template", (node, [name, service]) => {
    const now = state.now.services[name] || {};
    setText(node.querySelector(".name"), NAMES[name] || name);
    setText(node.querySelector(".url"), service.url);
    setText(node.querySelector(".rate"), whole.format(now.rate || 0));
    for (const label of ["p50", "p90", "p99"]) setText(node.querySelector(`.${label}`), duration(now[label]));
    setText(node.querySelector(".connections"), whole.format(service.connections));
    setText(node.querySelector(".streams"), whole.format(service.streams));
    setText(node.querySelector(".requests"), whole.format(service.requests));
    const points = history.map((point) => point.services[name]).filter(Boolean);
    const [rates, latencies] = node.querySelectorAll(".chart");
    drawChart(rates, points.map((point) => point.rate), "Requests per second", (rate) => `${whole.format(rate)}/s`);
    drawChart(latencies, points.map((point) => point.p90 || 0), "90th percentile of the latency", (p90) => `p90 ${duration(p90)}`);
    drawCounters(node.querySelector(".pushes"), PUSHES, service);
    drawCounters(node.querySelector(".transport"), TRANSPORT, service);
  });
  const processes = state.processes.length;
  setText($("summary"), processes > 1 ? `${processes} processes` : "one process");
}

function drawResponses(state) {
  const rows = [];
  for (const [service, { answers }] of Object.entries(state.services)) {
    const total = answers.reduce((sum, row) => sum + row.count, 0);
    for (const row of answers) rows.push({ service, ...row, share: row.count / total });
  }
  rows.sort((one, other) => other.count - one.count);
  const shown = rows.slice(0, 40);
  $("no-responses").hidden = shown.length > 0;
  const key = (row) => `${row.service} ${row.status} ${row.reason}`;
  reconcile($("responses"), shown, key, "response-template", (node, row) => {
    setText(node.querySelector(".service-name"), NAMES[row.service] || row.service);
    setText(node.querySelector(".status"), row.status ? String(row.status) : "–");
    node.querySelector(".status").dataset.kind = kindOf(row.status);
    setText(node.querySelector(".reason"), row.reason || (row.status === 200 ? "accepted" : ""));
    setText(node.querySelector(".count"), whole.format(row.count));
    setText(node.querySelector(".share"), `${(row.share * 100).toFixed(row.share < 0.1 ? 1 : 0)} %`);
    const bar = node.querySelector(".bar i");
    bar.style.width = `${Math.max(row.share * 100, 1)}%`;
    bar.dataset.kind = kindOf(row.status);
  });
}

function kindOf(status) {
  if (status === 200) return "good";
  if (status === 0) return "none";
  return status === 429 || status >= 500 ? "later" : "bad";
}

function drawFaults(state) {
  $("no-faults").hidden = state.faults.length > 0;
  reconcile($("faults"), state.faults, (fault) => fault.id, "fault-template", (node, fault) => {
    const name = fault.name || fault.id;
    setText(node.querySelector(".fault-name"), name);
    const kinds = [].concat(fault.what).map((action) => action.kind).join(" + ");
    setText(node.querySelector(".fault-description"), fault.description || conditions(kinds, fault.when || {}));
    setText(node.querySelector(".hits"), `${whole.format(fault.hits)} ${fault.hits === 1 ? "hit" : "hits"}`);
    setText(node.querySelector(".in-force"), fault.in_force ? "active" : fault.enabled ? "waiting" : "off");
    node.querySelector(".in-force").dataset.kind = fault.in_force ? "later" : "none";
    const toggle = node.querySelector(".switch");
    toggle.setAttribute("aria-checked", String(fault.enabled));
    toggle.setAttribute("aria-label", `Fault ${name}`);
    toggle.onclick = () => change("PATCH", `/v1/faults/${encodeURIComponent(fault.id)}`, { enabled: !fault.enabled });
  });
  drawPlan(state);
}

function drawPlan(state) {
  const { name, seed } = state.plan;
  setText($("plan-name"), name || (state.faults.length ? "a plan without a name" : "none"));
  setText($("plan-seed"), seed === undefined ? "" : `seed ${seed}`);
  $("restart-plan").disabled = !state.faults.length;
  const presets = $("preset");
  if (presets.options.length !== state.presets.length) {
    presets.replaceChildren(...state.presets.map((preset) => new Option(preset, preset)));
  }
  // The choice follows the current plan when that changes; otherwise it is the user's.
  if (presets.dataset.inForce !== name) {
    presets.dataset.inForce = name;
    if (state.presets.includes(name)) presets.value = name;
  }
}

function planInForce(state) {
  const faults = state.faults.map(({ in_force, hits, ...fault }) => fault);
  return { ...state.plan, name: state.plan.name || "", faults };
}

function conditions(kinds, when) {
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : value);
  const parts = Object.entries(when).map(([name, value]) => `${name.replaceAll("_", " ")} ${text(value)}`);
  return [kinds, ...parts].join(", ");
}

function drawNotifications(state) {
  const list = state.notifications;
  $("no-notifications").hidden = list.length > 0;
  const seen = new Map();
  for (const shown of list) {
    const name = `${shown.service} ${shown.time} ${shown.token || shown.topic} ${shown.status}`;
    seen.set(name, (seen.get(name) || 0) + 1);
    shown.key = `${name} ${seen.get(name)}`;
  }
  reconcile($("notifications"), list, (shown) => shown.key, "notification-template", (node, shown) => {
    const setOrHide = (selector, text) => {
      const element = node.querySelector(selector);
      element.hidden = !text;
      setText(element, text || "");
    };
    const app = shown.service === "apns" ? shown.topic : "FCM";
    setText(node.querySelector(".icon"), (app.split(".").pop() || "?").charAt(0).toUpperCase());
    node.querySelector(".icon").dataset.service = shown.service;
    setOrHide(".badge", shown.badge && shown.badge !== "0" ? shown.badge : "");
    if (shown.badge) node.querySelector(".badge").setAttribute("aria-label", `Badge ${shown.badge}`);
    setOrHide(".app-name", app || NAMES[shown.service]);
    setText(node.querySelector("time"), relativeTime(shown.time, state.now.time));
    setOrHide(".title", shown.title);
    setOrHide(".subtitle", shown.subtitle);
    setOrHide(".body", shown.silent ? "Nothing to show: a silent push" : shown.body);
    node.classList.toggle("silent", shown.silent);
    node.querySelector(".image").hidden = !shown.image;
    setText(node.querySelector(".image span"), shown.image || "");
    const outcome = node.querySelector(".outcome");
    setText(outcome, [shown.status || "no answer", shown.reason].filter(Boolean).join(" "));
    outcome.dataset.kind = kindOf(shown.status);
    const target = shown.token || (shown.service === "fcm" ? shown.topic : "");
    setOrHide(".token", target.length > 20 ? `${target.slice(0, 10)}…${target.slice(-6)}` : target);
    node.querySelector(".token").title = target;
    setText(node.querySelector("pre"), shown.raw);
  });
}

function draw() {
  if (!latest) return;
  drawServices(latest);
  drawResponses(latest);
  drawFaults(latest);
  drawNotifications(latest);
}

function showError(text) {
  $("error").hidden = !text;
  setText($("error"), text);
}

async function change(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, options);
    showError(response.ok ? "" : (await response.json()).detail);
  } catch {
    showError("The fake servers do not answer.");
  }
}

function listen() {
  const events = new EventSource("/v1/events");
  const showStatus = (text, kind) => {
    setText($("connection-status"), text);
    $("connection-status").dataset.kind = kind;
  };
  events.addEventListener("open", () => showStatus("live", "good"));
  events.addEventListener("error", () => {
    showStatus("not connected", "bad");
    // A browser that was refused does not try again by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
  events.addEventListener("history", (event) => {
    history = JSON.parse(event.data);
  });
  events.addEventListener("state", (event) => {
    const state = JSON.parse(event.data);
    if (!history.length || history[history.length - 1].time < state.now.time) history.push(state.now);
    history = history.slice(-CHART.points);
    if (paused) return;
    latest = state;
    draw();
  });
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
});
$("clear").addEventListener("click", () => change("DELETE", "/v1/received"));
$("zero").addEventListener("click", () => change("POST", "/v1/reset", { what: ["counters"] }));
$("restart-plan").addEventListener("click", () => change("PUT", "/v1/faults", { plan: planInForce(latest) }));
$("preset-form").addEventListener("submit", (event) => {
  event.preventDefault();
  change("PUT", "/v1/faults", { preset: $("preset").value });
});
listen();
