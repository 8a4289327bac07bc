// Time range: fills the absolute fields in the chosen zone, and sends them back as UTC, so that a shared address means the same to all.
(() => {
  "use strict";
  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("form[data-timerange]")) {
      for (const name of ["from", "to"]) {
        const field = form.querySelector(`[data-instant="${name}"]`);
        const hidden = form.querySelector(`input[name="${name}"]`);
        field.value = window.ridgeline.wallClock(field.dataset.value).replace(" ", "T").slice(0, 16);
        hidden.value = field.dataset.value;
        field.addEventListener("input", () => {
          hidden.value = field.value ? window.ridgeline.instantOf(field.value).toISOString().replace(".000Z", "Z") : "";
        });
      }
      form.addEventListener("submit", (event) => {
        const from = form.querySelector("input[name=from]").value;
        const to = form.querySelector("input[name=to]").value;
        const error = form.querySelector("[data-error]");
        const wrong = !from || !to ? "Give both a start and an end." : from >= to ? "The start must lie before the end." : "";
        error.hidden = !wrong;
        error.querySelector("span").textContent = wrong;
        if (wrong) event.preventDefault();
      });
    }
  });
})();
