// Keys: / search, t time range, [ ] step, g then a letter to go somewhere, ? help. Silent while someone types.
(() => {
  "use strict";
  let going = 0;

  function typing(target) {
    return target.closest("input, textarea, select, [contenteditable], dialog[open]");
  }

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
      "?": () => document.getElementById("help")?.showModal(),
    };
    const action = actions[event.key];
    if (!action) return;
    if (event.key !== "g") event.preventDefault();
    action();
  });
})();
