"use strict";
// The figures follow a call while it runs. A page that nobody sees asks for nothing.
const live = document.getElementById("live");
let source = null;
// What is written again must not take the focus, or the reader's place in a table, with it.
function show(html) {
  const table = live.querySelector(".wide");
  const [held, left] = [table !== null && table === document.activeElement, table?.scrollLeft ?? 0];
  live.innerHTML = html;
  const now = live.querySelector(".wide");
  if (now) now.scrollLeft = left;
  if (held) now?.focus({ preventScroll: true });
}
function listen() {
  source?.close();
  source = null;
  if (!live || document.hidden) return;
  source = new EventSource("/live");
  source.addEventListener("balance", (event) => { show(JSON.parse(event.data)); });
  source.addEventListener("over", () => { source.close(); location.reload(); });
}
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => source?.close());
listen();

// A payment that is open is looked at again, while someone sees the page. The page stays: its words change once there
// are others, and what has the focus or a finger on it is not taken away before.
const waits = document.querySelector("[data-waits]");
let pressed = false;
addEventListener("pointerdown", (event) => { pressed = event.button === 0; });
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { pressed = false; });
const asking = waits && setInterval(look, 6000);
let under_way = false;
async function look() {
  if (document.hidden || pressed || under_way) return;
  under_way = true;
  const answer = await fetch(location.href).catch(() => null);
  under_way = false;
  if (!answer?.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-payment]");
  if (!found || pressed) return;
  if (!found.matches("[data-waits]")) clearInterval(asking);
  for (const part of ["h1", "[role=status]", "[data-onward]"]) {
    const [shown, told] = [waits.querySelector(part), found.querySelector(part)];
    if (shown.innerHTML !== told.innerHTML) shown.innerHTML = told.innerHTML;
  }
}

// On a phone the row of pages may be wider than the window: the one that is shown is in sight.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
// And so is the one that the tab key leads to.
document.querySelector("nav")?.addEventListener("focusin", (event) => event.target.scrollIntoView({ block: "nearest", inline: "nearest" }));
