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
    const put = (params) => {
      for (const name of names) {
        if (asked.get(name)) params.set(name, asked.get(name));
        else params.delete(name);
      }
    };
    const chart = document.querySelector("[data-figure-url*='selectable=1']");
    const figure = new URL(chart.dataset.figureUrl, location.href);
    put(figure.searchParams);
    chart.dataset.figureUrl = figure.pathname + figure.search;
    chart.dispatchEvent(new CustomEvent("refresh"));
    for (const link of document.querySelectorAll(".timerange a[href^='?']")) {
      const address = new URL(link.getAttribute("href"), location.href);
      put(address.searchParams);
      link.setAttribute("href", address.search);
    }
    for (const other of document.querySelectorAll("form[data-timerange], form.filters")) {
      for (const name of names) {
        other.querySelector(`input[name="${name}"]`)?.remove();
        if (!asked.get(name)) continue;
        const hidden = Object.assign(document.createElement("input"), { type: "hidden", name, value: asked.get(name) });
        other.prepend(hidden);
      }
    }
  });
})();
