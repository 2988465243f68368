"use strict";
// The figures follow a call while it runs. A page that nobody sees asks for nothing.
const live = document.getElementById("live");
let source = null;
function listen() {
  source?.close();
  source = null;
  if (!live || document.hidden) return;
  source = new EventSource("/live");
  source.addEventListener("balance", (event) => { live.innerHTML = JSON.parse(event.data); });
  source.addEventListener("over", () => { source.close(); location.reload(); });
}
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => source?.close());
listen();

// A payment that is open is looked at again, while someone sees the page.
if (document.querySelector("[data-waits]")) setInterval(() => { if (!document.hidden) location.reload(); }, 6000);

// On a phone the row of pages may be wider than the window: the one that is shown is in sight.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
// And so is the one that the tab key leads to.
document.querySelector("nav")?.addEventListener("focusin", (event) => event.target.scrollIntoView({ block: "nearest", inline: "nearest" }));
