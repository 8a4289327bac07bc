// Keys: / search, t time range, [ ] step, - + zoom, p pin, s save view, g then a letter to go somewhere, ? help. Silent while someone types.
(() => {
  "use strict";
  let going = 0;

  function typing(target) {
    return target.closest("input, textarea, select, [contenteditable], dialog[open]");
  }

  // the help lists every key of the menus
  document.addEventListener("DOMContentLoaded", () => {
    const list = document.querySelector("[data-go-keys]");
    const seen = new Set();
    for (const link of document.querySelectorAll(".nav [data-key]")) {
      if (!list || seen.has(link.dataset.key)) continue;
      seen.add(link.dataset.key);
      const keys = document.createElement("dt");
      for (const key of link.dataset.key.split(" ")) {
        const cap = document.createElement("kbd");
        cap.textContent = key;
        keys.append(cap);
      }
      const name = document.createElement("dd");
      name.textContent = link.firstChild.textContent.trim();
      list.append(keys, name);
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (going && Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`[data-key="g ${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    const actions = {
      g: () => { going = Date.now(); },
      "/": () => document.getElementById("search")?.focus(),
      t: () => {
        const menu = document.querySelector(".timerange details.menu");
        if (!menu) return;
        menu.open = true;
        menu.querySelector("a, input")?.focus();
      },
      "[": () => document.querySelector("[data-step=back]")?.click(),
      "]": () => document.querySelector("[data-step=forward]")?.click(),
      "-": () => document.querySelector("[data-zoom=out]")?.click(),
      "+": () => document.querySelector("[data-zoom=in]")?.click(),
      p: () => document.querySelector("[data-pin]")?.click(),
      s: () => document.getElementById("save-view")?.showModal(),
      "?": () => document.getElementById("help")?.showModal(),
    };
    const action = actions[event.key];
    if (!action) return;
    if (event.key !== "g") event.preventDefault();
    action();
  });
})();
