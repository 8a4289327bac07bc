// Region: the form of a selection on a heatmap: filled by a drag, read in the chosen zone, sent as UTC.
(() => {
  "use strict";
  const names = ["sel_from", "sel_to", "sel_low", "sel_high"];
  const form = document.querySelector("[data-region-form]");
  if (!form) return;
  const field = (name) => form.elements.namedItem(name);
  const zoned = (instant) => window.ridgeline.wallClock(instant).replace(" ", "T").slice(0, 16);

  for (const name of ["sel_from", "sel_to"]) {
    const instant = new Date(field(name).dataset.instantValue);
    if (!Number.isNaN(instant.getTime())) field(name).value = zoned(instant);
  }
  form.addEventListener("formdata", (event) => {
    for (const name of ["sel_from", "sel_to"]) {
      const value = event.formData.get(name);
      if (value && !value.endsWith("Z")) event.formData.set(name, window.ridgeline.instantOf(`${value.replace("T", " ")}:00`.slice(0, 19)).toISOString().replace(".000Z", "Z"));
    }
  });

  document.addEventListener("ridgeline:selected", ({ detail }) => {
    field("sel_from").value = zoned(detail.from);
    field("sel_to").value = zoned(detail.to);
    field("sel_low").value = detail.low;
    field("sel_high").value = detail.high;
    form.requestSubmit();
  });

  // what was asked for is now the state of the page: its heatmap draws it, and its other links and forms keep it
  form.addEventListener("htmx:afterRequest", (event) => {
    if (event.target !== form || !event.detail.successful) return;
    const asked = new FormData(form);
    const chosen = Object.fromEntries(names.map((name) => [name, asked.get(name)]));
    window.ridgeline.remember(chosen);
    const chart = document.querySelector("[data-figure-url*='selectable=1']");
    const figure = new URL(chart.dataset.figureUrl, location.href);
    for (const [name, value] of Object.entries(chosen)) value ? figure.searchParams.set(name, value) : figure.searchParams.delete(name);
    chart.dataset.figureUrl = figure.pathname + figure.search;
    chart.dispatchEvent(new CustomEvent("refresh"));
  });
})();
