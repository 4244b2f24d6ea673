// What the page shows in words: numbers, ages, local times. Pure but for the clock.
const page = JSON.parse(document.getElementById("page").textContent);
export const { texts, scales, locale, lastId, version } = page;

// The server's clock minus this browser's, ms: ages must not depend on a wrong clock at the desk.
let clockOffsetMs = Date.parse(page.now) - Date.now();

export function setServerTime(iso) {
  clockOffsetMs = Date.parse(iso) - Date.now();
}

export function secondsSince(iso) {
  return Math.max(0, (Date.now() + clockOffsetMs - Date.parse(iso)) / 1000);
}

export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function duration(seconds) {
  const units = [["days", 86400], ["hours", 3600], ["minutes", 60]];
  const [name, size] = units.find(([, size]) => seconds >= size) ?? ["seconds", 1];
  return texts[name].replace("{n}", Math.floor(seconds / size));
}

export function age(seconds) {
  return seconds < 2 ? texts.now : texts.ago.replace("{age}", duration(seconds));
}

export function localTime(iso) {
  const time = new Date(iso);
  const isToday = secondsSince(iso) < 43200;
  return time.toLocaleString(locale, isToday
    ? { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }
    : { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}
