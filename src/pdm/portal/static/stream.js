// One connection to /api/events that never gives up. Tells who listens what came and whether the link stands.
import { lastId, version } from "./words.js";

const RETRY_MS = 2000;
const SILENT_MS = 30000; // the server says something at least every 15 s

export function follow({ onMachines, onAlert, onLink }) {
  let last = lastId;
  let source;
  let watchdog;

  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(reconnect, SILENT_MS);
  };
  const heard = (handle) => (event) => {
    alive();
    if (event.lastEventId) last = event.lastEventId;
    handle?.(JSON.parse(event.data));
  };

  function reconnect() {
    source?.close();
    onLink(false);
    clearTimeout(watchdog);
    watchdog = setTimeout(connect, RETRY_MS);
  }

  function connect() {
    source = new EventSource(`/api/events?after=${last}`);
    source.addEventListener("hello", heard((hello) => {
      if (hello.version !== version) location.reload();
      onLink(true);
    }));
    source.addEventListener("reset", () => location.reload());
    source.addEventListener("machines", heard(onMachines));
    source.addEventListener("alert", heard(onAlert));
    source.addEventListener("ping", heard());
    source.onerror = reconnect; // a browser gives up for good after an answer such as 503
    alive();
  }

  connect();
}
