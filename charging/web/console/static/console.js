"use strict";
document.getElementById("theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
// A page that nobody sees asks for nothing.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});
// A part that is asked again and again must not take the focus, or the reader's place in a table, with it; nor the link
// that is pressed: its click would be lost.
let place = null;
let pressed = false;
addEventListener("pointerdown", (event) => { pressed = event.button === 0; });
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { pressed = false; });
document.addEventListener("htmx:beforeSwap", (event) => {
  if (pressed) {
    event.detail.shouldSwap = false;
    return;
  }
  const within = event.detail.target.contains(document.activeElement) ? document.activeElement : null;
  const wide = event.detail.target.querySelector(".wide");
  place = { href: within?.getAttribute("href"), wide: within?.classList.contains("wide"), left: wide?.scrollLeft ?? 0 };
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (!place) return;
  const wide = event.detail.target.querySelector(".wide");
  if (wide) wide.scrollLeft = place.left;
  if (place.wide && wide) wide.focus({ preventScroll: true });
  else if (place.href) {
    for (const link of event.detail.target.querySelectorAll("a")) {
      if (link.getAttribute("href") === place.href) { link.focus({ preventScroll: true }); break; }
    }
  }
  place = null;
});

// On a phone the row of pages may be wider than the window: the one that is shown is in sight.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
// And so is the one that the tab key leads to.
document.querySelector("nav")?.addEventListener("focusin", (event) => event.target.scrollIntoView({ block: "nearest", inline: "nearest" }));
