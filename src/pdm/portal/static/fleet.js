// The fleet page: wires the stream to the rows, the counts and the alert panel.
import { adoptRows, count, paint, tickAges } from "./machines.js";
import { follow } from "./stream.js";
import { age, duration, localTime, secondsSince, setServerTime, texts } from "./words.js";

const PANEL_DELAY_MS = 100; // one fetch for a burst of events
const $ = (id) => document.getElementById(id);
let lostAt = null;
let lastHeard = Date.now();
let panelTimer = null;

async function fetchPart(name) {
  const answer = await fetch(`/parts/${name}`);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function refreshPanel() {
  panelTimer ??= setTimeout(async () => {
    panelTimer = null;
    try {
      showPanel((await fetchPart("alerts")).body);
    } catch {
      setTimeout(refreshPanel, 2000);
    }
  }, PANEL_DELAY_MS);
}

function showPanel(fresh) {
  const panel = $("alerts");
  const known = new Set([...panel.querySelectorAll("[data-episode]")].map((card) => card.dataset.episode));
  for (const card of fresh.querySelectorAll("[data-episode]")) {
    if (!known.has(card.dataset.episode)) card.classList.add("new");
  }
  panel.replaceChildren(...fresh.childNodes);
  tellTimes();
}

async function refreshRows() {
  const parsed = await fetchPart("machines");
  $("machines").replaceChildren(...parsed.querySelector("tbody").rows);
  adoptRows();
  showCounts();
}

function showMachines({ now, machines }) {
  setServerTime(now);
  if (paint(machines)) showCounts();
  else refreshRows().catch(() => {}); // the next values ask again
  if (machines.length) $("degraded").hidden = !machines.some((machine) => machine.degraded && !machine.stale);
}

function showCounts() {
  const { counts, total } = count();
  for (const [state, n] of Object.entries(counts)) {
    const node = document.querySelector(`[data-count=${state}]`);
    node.textContent = n;
    node.closest("li").toggleAttribute("data-none", n === 0);
  }
  $("machine-count").textContent = total;
  $("no-machines").hidden = total > 0;
  $("fleet-table").hidden = total === 0;
  document.title = (counts.critical ? `(${counts.critical}) ` : "") + `${texts.title} · pdm`;
}

function showLink(isUp) {
  if (isUp) lostAt = null;
  else lostAt ??= lastHeard;
  const link = $("link");
  link.dataset.link = isUp ? "up" : "down";
  link.lastElementChild.textContent = isUp ? texts.live : texts.offline;
  document.body.toggleAttribute("data-offline", !isUp);
  $("offline").hidden = isUp;
  tick();
}

function tellTimes() {
  for (const node of document.querySelectorAll("time[datetime]")) node.textContent = localTime(node.dateTime);
  for (const node of document.querySelectorAll("[data-lasted]")) node.textContent = duration(Number(node.dataset.lasted));
  tick();
}

function tick() {
  tickAges();
  for (const node of document.querySelectorAll("[data-since]")) node.textContent = age(secondsSince(node.dataset.since));
  if (lostAt !== null) {
    $("offline").textContent = texts.offline_more.replace("{age}", duration((Date.now() - lostAt) / 1000));
  }
}

adoptRows();
showCounts();
tellTimes();
setInterval(tick, 1000);
follow({
  onMachines: (event) => { lastHeard = Date.now(); showMachines(event); },
  onAlert: refreshPanel,
  onLink: showLink,
});
