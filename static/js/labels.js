// Labelling by keyboard: r right, 1 to 9 a class, x cannot tell, w another class. Silent while someone types.
(() => {
  "use strict";
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest("input, textarea, select, [contenteditable], dialog[open]")) return;
    const queue = document.querySelector("[data-label-queue]");
    if (!queue) return;
    const key = CSS.escape(event.key);
    const field = queue.querySelector(`[data-label-focus="${key}"]`);
    const button = queue.querySelector(`[data-label-key="${key}"]:not(:disabled)`);
    if (!field && !button) return;
    event.preventDefault();
    if (field) field.focus();
    else button.click();
  });
})();
