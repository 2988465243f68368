"use strict";
// Before the page is drawn: dark or light as chosen here, else as the system says.
const chosen = localStorage.getItem("theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
