"use strict";
// Draws what /v1/events says. Every text is set as text, never as markup; what is changed goes through the same calls
// that docs/fakeservers-control.md describes.

const $ = (id) => document.getElementById(id);
const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);
const NAMES = { apns: "APNs", fcm: "FCM" };
const CURVE = { points: 120, fewest: 30, width: 240, height: 44 };

let history = [];
let latest = null;
let paused = false;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return `${whole.format(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
}

function ago(time, now) {
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
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let previous = null;
  for (const item of items) {
    const key = keyOf(item);
    const child = there.get(key) || copyOf(template);
    there.delete(key);
    child.dataset.key = key;
    fill(child, item);
    const place = previous ? previous.nextElementSibling : parent.firstElementChild;
    if (place !== child) parent.insertBefore(child, place);
    previous = child;
  }
  for (const child of there.values()) child.remove();
}

function curve(svg, values, words) {
  const top = Math.max(...values, 1e-9);
  const step = CURVE.width / (Math.max(values.length, CURVE.fewest) - 1);
  const start = CURVE.width - step * (values.length - 1);
  const line = values.map((value, at) => {
    const y = CURVE.height - 2 - (value / top) * (CURVE.height - 6);
    return `${(start + at * step).toFixed(1)},${y.toFixed(1)}`;
  });
  svg.querySelector("polyline").setAttribute("points", line.join(" "));
  const closed = [`${start.toFixed(1)},${CURVE.height}`, ...line, `${CURVE.width},${CURVE.height}`];
  svg.querySelector("polygon").setAttribute("points", closed.join(" "));
  svg.setAttribute("aria-label", words);
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
    setText(node.querySelector(".requests"), short.format(service.requests));
    const points = history.map((point) => point.services[name]).filter(Boolean);
    const [rates, latencies] = node.querySelectorAll(".curve");
    const most = Math.max(0, ...points.map((point) => point.rate));
    curve(rates, points.map((point) => point.rate), `Requests per second in the last two minutes, ${whole.format(most)} at most`);
    curve(latencies, points.map((point) => point.p90 || 0), "90th percentile of the latency in the last two minutes");
  });
  const many = state.processes.length;
  setText($("where"), many > 1 ? `${many} processes` : "one process");
}

function drawAnswers(state) {
  const rows = [];
  for (const [service, each] of Object.entries(state.services)) {
    const all = each.answers.reduce((sum, answer) => sum + answer.count, 0);
    for (const answer of each.answers) rows.push({ service, ...answer, share: answer.count / all });
  }
  rows.sort((one, other) => other.count - one.count);
  const shown = rows.slice(0, 40);
  $("no-answers").hidden = shown.length > 0;
  const key = (row) => `${row.service} ${row.status} ${row.reason}`;
  reconcile($("answers"), shown, key, "answer-template", (node, row) => {
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
    setText(node.querySelector(".fault-about"), fault.description || conditions(kinds, fault.when || {}));
    setText(node.querySelector(".hits"), `${short.format(fault.hits)} ×`);
    node.querySelector(".hits").title = `${whole.format(fault.hits)} times so far`;
    setText(node.querySelector(".force"), fault.in_force ? "in force" : fault.enabled ? "waiting" : "off");
    node.querySelector(".force").dataset.kind = fault.in_force ? "later" : "none";
    const knob = node.querySelector(".switch");
    knob.setAttribute("aria-checked", String(fault.enabled));
    knob.setAttribute("aria-label", `Fault ${name}`);
    knob.onclick = () => change("PATCH", `/v1/faults/${encodeURIComponent(fault.id)}`, { enabled: !fault.enabled });
  });
  const presets = $("preset");
  if (presets.options.length !== state.presets.length) {
    presets.replaceChildren(...state.presets.map((name) => new Option(name, name)));
  }
}

function conditions(kinds, when) {
  const words = Object.entries(when).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  return [kinds, ...words].join(", ");
}

function drawNotifications(state) {
  const list = state.notifications;
  $("no-notifications").hidden = list.length > 0;
  const seen = new Map();
  for (const each of list) {
    const name = `${each.service} ${each.time} ${each.token || each.topic} ${each.status}`;
    seen.set(name, (seen.get(name) || 0) + 1);
    each.key = `${name} ${seen.get(name)}`;
  }
  reconcile($("notifications"), list, (each) => each.key, "notification-template", (node, each) => {
    const put = (where, text) => {
      const place = node.querySelector(where);
      place.hidden = !text;
      setText(place, text || "");
    };
    const from = each.service === "apns" ? each.topic : "FCM";
    setText(node.querySelector(".icon"), (from.split(".").pop() || "?").charAt(0).toUpperCase());
    node.querySelector(".icon").dataset.service = each.service;
    put(".badge", each.badge && each.badge !== "0" ? each.badge : "");
    if (each.badge) node.querySelector(".badge").setAttribute("aria-label", `Badge ${each.badge}`);
    put(".from", from || NAMES[each.service]);
    setText(node.querySelector("time"), ago(each.time, state.now.time));
    put(".title", each.title);
    put(".subtitle", each.subtitle);
    put(".body", each.silent ? "Nothing to show: a silent push" : each.body);
    node.classList.toggle("silent", each.silent);
    node.querySelector(".image").hidden = !each.image;
    setText(node.querySelector(".image span"), each.image || "");
    const outcome = node.querySelector(".outcome");
    setText(outcome, [each.status || "no answer", each.reason].filter(Boolean).join(" "));
    outcome.dataset.kind = kindOf(each.status);
    const target = each.token || (each.service === "fcm" ? each.topic : "");
    put(".token", target.length > 20 ? `${target.slice(0, 10)}…${target.slice(-6)}` : target);
    node.querySelector(".token").title = target;
    setText(node.querySelector("pre"), each.raw);
  });
}

function draw() {
  if (!latest) return;
  drawServices(latest);
  drawAnswers(latest);
  drawFaults(latest);
  drawNotifications(latest);
}

function trouble(words) {
  $("trouble").hidden = !words;
  setText($("trouble"), words);
}

async function change(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  try {
    const answer = await fetch(path, options);
    trouble(answer.ok ? "" : (await answer.json()).detail);
  } catch {
    trouble("The fake servers do not answer.");
  }
}

function listen() {
  const events = new EventSource("/v1/events");
  const link = (words, kind) => {
    setText($("link"), words);
    $("link").dataset.kind = kind;
  };
  events.addEventListener("open", () => link("live", "good"));
  events.addEventListener("error", () => {
    link("not connected", "bad");
    // A browser that was refused does not try again by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
  events.addEventListener("history", (event) => {
    history = JSON.parse(event.data);
  });
  events.addEventListener("state", (event) => {
    const state = JSON.parse(event.data);
    if (!history.length || history[history.length - 1].time < state.now.time) history.push(state.now);
    history = history.slice(-CURVE.points);
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
$("reset").addEventListener("click", () => change("POST", "/v1/reset", { what: ["counters"] }));
$("plan").addEventListener("submit", (event) => {
  event.preventDefault();
  change("PUT", "/v1/faults", { preset: $("preset").value });
});
listen();
