// Folds: secondary sections stand open on wide screens and without script; narrow screens close them until asked for.
(() => {
  "use strict";
  const narrow = window.matchMedia("(max-width: 39.99rem)");
  const asked = new Set(); // ids of those that the reader opened: a part of the page that comes anew leaves them open

  function fold(scope) {
    for (const part of scope.querySelectorAll("details[data-fold]")) part.open = !narrow.matches || asked.has(part.id);
  }
  function reveal(id) { // what a link leads to, within whatever it is folded into
    const target = id && document.getElementById(id);
    for (let part = target?.closest("details[data-fold]"); part; part = part.parentElement.closest("details[data-fold]")) {
      asked.add(part.id);
      part.open = true;
    }
    return target;
  }

  document.addEventListener("click", (event) => {
    const part = event.target.closest("details[data-fold] > summary")?.parentElement;
    if (part) part.open ? asked.delete(part.id) : asked.add(part.id); // the click turns it after this
    const link = event.target.closest('a[href^="#"]');
    if (link) reveal(link.hash.slice(1)); // the browser goes there after this
  });
  document.addEventListener("htmx:afterSwap", (event) => fold(event.detail.target));
  narrow.addEventListener("change", () => fold(document));
  fold(document);
  if (narrow.matches && location.hash) reveal(location.hash.slice(1))?.scrollIntoView();
})();
