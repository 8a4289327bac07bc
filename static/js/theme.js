// Theme: applied before the first paint (this file is small and blocks), kept in localStorage, changed by [data-theme-choice].
(() => {
  "use strict";
  const KEY = "ridgeline-theme";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function choice() {
    try {
      const stored = localStorage.getItem(KEY);
      return stored === "light" || stored === "dark" ? stored : "system";
    } catch {
      return "system"; // storage may be forbidden; the system theme always works
    }
  }

  function apply() {
    const chosen = choice();
    root.dataset.theme = chosen === "system" ? (dark.matches ? "dark" : "light") : chosen;
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === chosen));
    }
    root.dispatchEvent(new CustomEvent("ridgeline:theme", { bubbles: true }));
  }

  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", apply);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    try {
      localStorage.setItem(KEY, button.dataset.themeChoice);
    } catch {
      root.dataset.theme = button.dataset.themeChoice;
    }
    apply();
  });
})();
