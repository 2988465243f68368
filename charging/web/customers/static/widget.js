"use strict";
// <script src="https://…/widget.js" data-token="…" data-language="nl" data-link="https://…/account" defer></script>
(() => {
  const script = document.currentScript;
  const { token, language, link } = script.dataset;
  const dutch = language !== "en";
  const words = dutch
    ? { label: "Tegoed", free: "gratis min.", calling: "in gesprek", unknown: "Tegoed onbekend" }
    : { label: "Credit", free: "free min.", calling: "on a call", unknown: "Credit unknown" };
  const money = new Intl.NumberFormat(dutch ? "nl-NL" : "en-IE", { style: "currency", currency: "EUR" });
  const host = document.createElement("span");
  const root = host.attachShadow({ mode: "open" });
  const style = new CSSStyleSheet();
  style.replaceSync(`
    :host { display: inline-block; font: inherit; }
    a, span.all { display: inline-flex; gap: .5em; align-items: baseline; padding: .35em .8em; border-radius: 99px;
      border: 1px solid color-mix(in srgb, currentColor 30%, transparent); color: inherit; text-decoration: none; }
    strong { font-variant-numeric: tabular-nums; }
    a:focus-visible { outline: 3px solid currentColor; outline-offset: 2px; }
  `);
  root.adoptedStyleSheets = [style];
  const box = document.createElement(link && /^https?:/.test(link) ? "a" : "span");
  box.className = "all";
  if (box instanceof HTMLAnchorElement) box.href = link;
  root.append(box);
  script.after(host);
  let timer = 0;
  function show(parts) {
    box.replaceChildren(...parts.filter(Boolean).map(([kind, text]) => {
      const element = document.createElement(kind);
      element.textContent = text;
      return element;
    }));
  }
  async function ask() {
    clearTimeout(timer);
    if (document.hidden) return;
    let again = 15;
    try {
      const where = new URL("widget/balance", script.src);
      const answer = await fetch(where, { headers: { Authorization: `Bearer ${token}` }, credentials: "omit" });
      const told = await answer.json();
      if (answer.ok) {
        show([
          ["span", words.label],
          ["strong", money.format(Number(told.credit))],
          told.free_minutes > 0 && ["span", `${told.free_minutes} ${words.free}`],
          told.calls > 0 && ["em", words.calling],
        ]);
      } else if (answer.status === 401) {
        show([["span", words.unknown]]);
        return; // the token is over: the site's next page has another
      }
      again = told.again_s || again;
    } catch { /* out of reach: ask again */ }
    timer = setTimeout(ask, again * 1000);
  }
  document.addEventListener("visibilitychange", ask);
  ask();
})();
