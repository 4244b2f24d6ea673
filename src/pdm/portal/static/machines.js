// The fleet's rows: paints new values in place, keeps the worst on top, draws each torque's last minute.
import { age, number, scales, secondsSince, texts } from "./words.js";

const STATES = ["critical", "warning", "silent", "normal"];
const SPARK_S = 60;
const body = document.getElementById("machines");
const rows = new Map();
const trails = new Map(); // machine id → [[seconds, torque], …] of the last minute

export function adoptRows() {
  rows.clear();
  for (const row of body.rows) rows.set(row.dataset.id, row);
  tickAges();
}

/** Returns whether every machine has its row; the caller fetches the rows otherwise. */
export function paint(machines) {
  let isSorted = true;
  for (const machine of machines) {
    const row = rows.get(machine.machine_id);
    if (!row) return false;
    if (row.dataset.state !== machine.state) isSorted = false;
    paintRow(row, machine);
  }
  if (!isSorted) sort();
  return true;
}

export function count() {
  const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (const row of rows.values()) counts[row.dataset.state] += 1;
  return { counts, total: rows.size };
}

export function tickAges() {
  for (const row of rows.values()) {
    const seen = row.dataset.seen;
    setText(row, "age", seen ? age(secondsSince(seen)) : texts.never);
  }
}

function paintRow(row, machine) {
  const f = machine.features;
  row.dataset.state = machine.state;
  row.toggleAttribute("data-stale", machine.stale);
  if (machine.last_seen) row.dataset.seen = machine.last_seen;
  row.querySelector("[data-f=icon]").setAttribute("href", `#i-${machine.state}`);
  setText(row, "word", texts[machine.state]);
  setText(row, "why", machine.episode ? texts[machine.episode.failure_type] : machine.site ?? "");
  setText(row, "torque", number(f.last_torque, 1));
  setText(row, "torque_mean", number(f.torque_1m_avg, 1));
  setText(row, "power", number(f.power_1m_avg === null ? null : f.power_1m_avg / 1000, 2));
  setText(row, "delta", number(difference(f.temp_1m_avg, f.air_temp_1m_avg), 1));
  setText(row, "speed", number(f.last_rpm));
  setText(row, "wear", number(f.last_tool_wear));
  setBar(row, "torque_bar", f.torque_1m_avg);
  setBar(row, "wear_bar", f.last_tool_wear);
  if (machine.last_seen && !machine.stale) extendTrail(row, machine.machine_id, machine.last_seen, f.last_torque);
}

function setText(row, field, text) {
  const node = row.querySelector(`[data-f=${field}]`);
  if (node.textContent !== text) node.textContent = text;
}

function setBar(row, field, value) {
  const bar = row.querySelector(`[data-f=${field}]`);
  const share = Math.min(Math.max(value ?? 0, 0) / bar.dataset.max, 1) * 100;
  bar.querySelector(".fill").setAttribute("width", share.toFixed(1));
  bar.toggleAttribute("data-over", value !== null && value >= Number(bar.dataset.limit));
}

function difference(one, other) {
  return one === null || other === null ? null : one - other;
}

function extendTrail(row, id, seen, torque) {
  const now = Date.parse(seen) / 1000;
  const trail = (trails.get(id) ?? []).filter(([at]) => at > now - SPARK_S && at < now);
  if (torque !== null) trail.push([now, torque]);
  trails.set(id, trail);
  const points = trail.map(([at, nm]) => `${(120 + (at - now) * 2).toFixed(1)},${sparkY(nm)}`);
  row.querySelector("polyline").setAttribute("points", points.join(" "));
}

function sparkY(torque) {
  return (27 - (Math.min(torque, scales.torque_max) / scales.torque_max) * 26).toFixed(1);
}

function sort() {
  const rank = (row) => STATES.indexOf(row.dataset.state);
  const sorted = [...rows.values()].sort((a, b) => rank(a) - rank(b) || (a.dataset.id < b.dataset.id ? -1 : 1));
  body.append(...sorted);
}
