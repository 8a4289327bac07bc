// Charts: fetches figures as JSON, draws them with one plotly template made from the CSS variables, keeps them fresh.
//
// A figure's URL answers {"figure": {"data", "layout"}, "table": {"columns", "rows"}, "foot": {…}, "empty": null | {…}}.
// Colours in a figure are names of tokens, "var(--series-1)" "var(--series-1) / 0.2" (transparent)
// or "var(--series-1) over 0.2" (thin but opaque), so that a change of theme needs no request.
(() => {
  "use strict";
  const root = document.documentElement;
  const icons = root.dataset.icons;
  const answers = new WeakMap();
  const config = { displaylogo: false, responsive: true, scrollZoom: false,
    modeBarButtonsToRemove: ["sendChartToCloud", "pan2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"] };
  const touch = window.matchMedia("(pointer: coarse)");
  const narrow = window.matchMedia("(max-width: 39.99rem)");

  // --- colours: the browser resolves a token, so that light-dark() and every colour syntax work --------------------------
  let resolved = new Map();
  function colour(text) {
    if (resolved.has(text)) return resolved.get(text);
    const [, token, how, alpha] = text.match(/^(var\([^)]+\))(?: (\/|over) ([\d.]+))?$/) ?? [];
    if (!token) return text;
    const [r, g, b] = channels(token);
    let answer = `rgb(${r}, ${g}, ${b})`;
    if (how === "/") answer = `rgba(${r}, ${g}, ${b}, ${alpha})`;
    if (how === "over") { // opaque, as if painted thinly on the card: what lies behind stays hidden
      const paper = channels("var(--surface)");
      answer = `rgb(${[r, g, b].map((value, i) => Math.round(value * alpha + paper[i] * (1 - alpha))).join(", ")})`;
    }
    resolved.set(text, answer);
    return answer;
  }
  function channels(token) {
    const probe = document.createElement("span");
    probe.style.color = token;
    document.body.append(probe);
    const value = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
    probe.remove();
    return value;
  }
  function themed(node) {
    if (typeof node === "string") return node.startsWith("var(--") ? colour(node) : node;
    if (Array.isArray(node)) return node.map(themed);
    if (node && typeof node === "object") return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, themed(value)]));
    return node;
  }

  function template() {
    const axis = { gridcolor: "var(--grid)", linecolor: "var(--grid)", zerolinecolor: "var(--line-strong)", zerolinewidth: 1,
      tickfont: { color: "var(--axis)", size: 12 }, title: { font: { color: "var(--axis)", size: 12 }, standoff: 8 }, ticks: "", automargin: true };
    return themed({ layout: {
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: "var(--ink-2)" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      colorway: [1, 2, 3, 4, 5, 6, 7].map((n) => `var(--series-${n})`),
      xaxis: { ...axis, showgrid: false, showline: true }, yaxis: axis,
      margin: { l: 56, r: 16, t: 52, b: 40 },
      legend: { orientation: "h", x: 0, y: 1, yref: "container", yanchor: "top", font: { size: 12, color: "var(--ink-2)" }, itemwidth: 34, traceorder: "normal" },
      hoverlabel: { bgcolor: "var(--surface)", bordercolor: "var(--line-strong)", font: { color: "var(--ink)", size: 12, family: getComputedStyle(document.body).fontFamily }, align: "left" },
      modebar: { orientation: "h", bgcolor: "rgba(0,0,0,0)" },
    } });
  }

  // --- times in the chosen zone ------------------------------------------------------------------------------------------
  const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)$/;
  function localTimes(node) {
    if (typeof node === "string") return instant.test(node) ? window.ridgeline.wallClock(node) : node;
    if (Array.isArray(node)) return node.map(localTimes);
    if (node && typeof node === "object") return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, localTimes(value)]));
    return node;
  }

  // --- drawing -----------------------------------------------------------------------------------------------------------
  function draw(chart) {
    const answer = answers.get(chart);
    const plot = chart.querySelector("[data-plot]");
    if (!answer) return;
    if (answer.empty) {
      if (window.Plotly) window.Plotly.purge(plot);
      plot.replaceChildren(emptyState(answer.empty));
      plot.removeAttribute("role");
      return;
    }
    const figure = themed(localTimes(answer.figure));
    const layout = { ...figure.layout, template: template(), uirevision: "keep", autosize: true };
    if (touch.matches) layout.dragmode = false; // a finger scrolls the page; the picker and the form below do the rest
    else if (layout.meta?.selectable) layout.dragmode = "select";
    if (narrow.matches && layout.meta?.narrow) Object.assign(layout, layout.meta.narrow);
    if (narrow.matches) for (const trace of figure.data) if (trace.type === "heatmap") trace.showscale = false;
    keepLabelsInside(layout, figure.data);
    makeRoomForLegend(plot, layout, figure.data);
    if (!plot.classList.contains("js-plotly-plot")) plot.replaceChildren();
    window.Plotly.react(plot, figure.data, layout, { ...config, displayModeBar: touch.matches ? false : "hover" });
    plot.setAttribute("role", "figure");
    plot.setAttribute("aria-label", `${chart.dataset.title}. ${footText(answer.foot).join(", ")}. The same numbers are in the table below the chart.`);
    if (!plot.dataset.listening) {
      plot.dataset.listening = "true";
      plot.on("plotly_relayout", (change) => zoomed(chart, change));
      plot.on("plotly_click", (event) => clicked(event));
      plot.on("plotly_selected", (event) => selected(chart, event));
    }
  }

  // a marker near the right end has its label on its left, where there is room; one close to another stands above it, and
  // those of one kind at one moment share a label
  function keepLabelsInside(layout, data) {
    if (layout.xaxis?.type !== "date") return;
    const moment = (value) => new Date(String(value).replace(" ", "T")).getTime();
    const [first, last] = (layout.xaxis.range ?? [data[0]?.x?.[0], data[0]?.x?.at(-1)]).map(moment);
    const room = (last - first) * (narrow.matches ? 0.35 : 0.12);
    const notes = (layout.annotations ?? []).filter((note) => note.xref === "x").sort((a, b) => moment(a.x) - moment(b.x));
    const placed = []; // [note, how many lines above the axis it stands]
    for (const note of notes) {
      if (moment(note.x) > last - room) Object.assign(note, { xanchor: "right", xshift: 2 });
      const near = placed.filter(([other]) => moment(note.x) - moment(other.x) < room);
      const twin = near.find(([other]) => other.font?.color === note.font?.color && moment(note.x) - moment(other.x) < room / 8)?.[0];
      if (twin) {
        twin.text += `, ${note.text}`;
        note.visible = false;
        continue;
      }
      let line = 0;
      while (near.some(([, taken]) => taken === line)) line += 1;
      note.yshift = (note.yshift ?? 0) + 13 * line;
      placed.push([note, line]);
    }
  }

  // a legend that fills line after line of a narrow screen gets room of its own: the plot keeps its height
  function makeRoomForLegend(plot, layout, data) {
    const names = data.filter((trace) => trace.name && trace.showlegend !== false).map((trace) => trace.name.length);
    const columns = Math.max(1, Math.floor((plot.clientWidth - 72) / (Math.max(...names, 1) * 6.5 + 44)));
    const lines = narrow.matches && layout.showlegend !== false && names.length > 1 ? Math.ceil(names.length / columns) : 0;
    plot.style.setProperty("--legend", `${Math.max(0, lines - 2) * 19}px`);
  }

  function emptyState({ title, text, remedy_label: label, remedy_url: url }) {
    const box = document.createElement("div");
    box.className = "empty";
    box.innerHTML = `<svg class="empty__ridge" aria-hidden="true"><use href="${icons}#flat"></use></svg><p class="empty__title"></p><p class="empty__text"></p>`;
    box.querySelector(".empty__title").textContent = title;
    box.querySelector(".empty__text").textContent = text;
    if (url) {
      const link = document.createElement("a");
      link.className = "button";
      link.href = url;
      link.textContent = label;
      box.append(link);
    }
    return box;
  }

  const number = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 5 });
  function footText(foot) {
    const parts = [];
    if (foot.as_of) parts.push(`data as of ${window.ridgeline.wallClock(foot.as_of)}`);
    if (foot.count !== null && foot.count !== undefined) parts.push(`n ${foot.count.toLocaleString("en-GB")} ${foot.unit || ""}`.trim());
    if (foot.resolution) parts.push(`resolution ${foot.resolution}`);
    if (foot.completeness !== null && foot.completeness !== undefined) parts.push(`completeness ${(foot.completeness * 100).toFixed(1)} %`);
    return parts.concat(foot.notes || []);
  }
  function drawFoot(chart) {
    const place = chart.querySelector("[data-foot]");
    const { foot } = answers.get(chart);
    place.replaceChildren(...footText(foot).map((text) => {
      const span = document.createElement("span");
      span.textContent = text;
      if (text.startsWith("completeness") && foot.completeness < 0.95) span.dataset.warn = "";
      return span;
    }));
  }
  function drawTable(chart) {
    const place = chart.querySelector("[data-table]");
    const { table } = answers.get(chart);
    if (place.hidden || !table) return;
    const element = document.createElement("table");
    element.className = "table";
    const caption = element.createCaption();
    caption.textContent = chart.dataset.title;
    caption.className = "visually-hidden";
    const head = element.createTHead().insertRow();
    for (const name of table.columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    }
    const body = element.createTBody();
    for (const row of table.rows) {
      const line = body.insertRow();
      for (const value of row) {
        const cell = line.insertCell();
        if (typeof value === "number") cell.className = "num";
        cell.textContent = value === null ? "–" : typeof value === "number" ? number.format(value)
          : instant.test(value) ? window.ridgeline.wallClock(value).slice(0, 16) : String(value);
      }
    }
    place.replaceChildren(element);
  }

  // --- a zoom in time becomes the range of the whole page, in its address like a choice in the picker ---------------------
  const utc = (value) => window.ridgeline.instantOf(String(value).replace("T", " ").slice(0, 19)).toISOString().replace(/\.\d+Z$/, "Z");
  function zoomed(chart, change) {
    const from = change["xaxis.range[0]"];
    const to = change["xaxis.range[1]"];
    if (!document.querySelector(".timerange")) return; // a page without a range of its own
    if (from === undefined || answers.get(chart).figure.layout.xaxis?.type !== "date") return;
    const padded = (value) => (String(value).length === 10 ? `${value} 00:00:00` : String(value).length === 16 ? `${value}:00` : value);
    const address = new URL(location.href);
    const [begin, end] = [utc(padded(from)), utc(padded(to))];
    if (new Date(end) - new Date(begin) < 60000) return; // the shortest range that a page takes
    address.searchParams.set("from", begin);
    address.searchParams.set("to", end);
    sessionStorage.setItem("ridgeline:scroll", JSON.stringify([location.pathname, window.scrollY]));
    location.assign(address);
  }
  function keepPlace() { // the page that a zoom asked for opens where the reader was
    const [path, y] = JSON.parse(sessionStorage.getItem("ridgeline:scroll") || "[]");
    sessionStorage.removeItem("ridgeline:scroll");
    if (path === location.pathname) window.scrollTo(0, y);
  }

  // --- a region dragged on a chart that takes one ---------------------------------------------------------------------------
  function selected(chart, event) {
    const [xs, ys] = [event?.range?.x, event?.range?.y];
    if (!xs || !ys) return;
    const plot = chart.querySelector("[data-plot]");
    const [low, high] = [...ys].map(Number).sort((a, b) => a - b);
    const text = (value) => String(Number(value.toPrecision(5)));
    const [from, to] = xs.map((value) => utc(String(value).padEnd(16, " 00:00").slice(0, 19))).sort();
    window.Plotly.relayout(plot, { selections: [] }); // the outline comes back with the figure, on whole steps and bins
    chart.dispatchEvent(new CustomEvent("ridgeline:selected", { bubbles: true, detail: { from, to, low: text(low), high: text(high) } }));
  }
  function clicked(event) {
    const address = event.points?.[0]?.customdata?.url;
    if (typeof address === "string" && address.startsWith("/")) location.assign(address);
  }

  // --- what was chosen without a new page stands in its address, and its links and forms of range and filters keep it -------
  function remember(changes) {
    const put = (params) => {
      for (const [name, value] of Object.entries(changes)) value ? params.set(name, value) : params.delete(name);
    };
    const here = new URL(location.href);
    put(here.searchParams);
    history.replaceState(history.state, "", here);
    for (const link of document.querySelectorAll(".timerange a[href^='?']")) {
      const address = new URL(link.getAttribute("href"), location.href);
      put(address.searchParams);
      link.setAttribute("href", address.search);
    }
    for (const form of document.querySelectorAll("form[data-timerange], form.filters")) {
      for (const [name, value] of Object.entries(changes)) {
        form.querySelector(`input[type=hidden][name="${name}"]`)?.remove();
        if (value) form.prepend(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
      }
    }
  }
  window.ridgeline.remember = remember;

  // --- fetching ------------------------------------------------------------------------------------------------------------
  async function load(chart) {
    if (chart.dataset.loading) return;
    chart.dataset.loading = "true";
    try {
      const response = await fetch(chart.dataset.figureUrl, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      const answer = response.headers.get("Content-Type")?.includes("json") ? await response.json() : null;
      if (!response.ok || !answer) throw new Error(answer?.detail || `the server answered ${response.status}`);
      answers.set(chart, answer);
      chart.removeAttribute("data-stale");
      drawFoot(chart); // before the plot, which fills what is left
      draw(chart);
      drawTable(chart);
    } catch (error) {
      const place = chart.querySelector("[data-foot]");
      if (answers.has(chart)) { // keep the last picture and say that it is old
        if (!chart.hasAttribute("data-stale")) {
          const stale = document.createElement("span");
          stale.className = "chart__stale";
          stale.textContent = `not refreshed: ${error.message}`;
          place.append(stale);
        }
        chart.setAttribute("data-stale", "");
      } else {
        chart.querySelector("[data-plot]").replaceChildren(emptyState({ title: "This chart could not be loaded", text: `${error.message}. It will be tried again.` }));
        setTimeout(() => load(chart), 15000);
      }
    } finally {
      delete chart.dataset.loading;
    }
  }

  const seen = "IntersectionObserver" in window && new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      load(entry.target);
    }
  }, { rootMargin: "400px" });

  function files(chart) { // the files hold what the chart shows
    for (const link of chart.querySelectorAll("[data-format]")) {
      const address = new URL(chart.dataset.figureUrl, location.href);
      address.searchParams.set("format", link.dataset.format);
      link.href = address.pathname + address.search;
    }
  }

  function start(scope) {
    for (const chart of scope.querySelectorAll("[data-figure-url]")) {
      if (chart.dataset.started) continue;
      chart.dataset.started = "true";
      const asked = new URL(chart.dataset.figureUrl, location.href).searchParams;
      for (const control of chart.querySelectorAll("[data-figure-parameter]")) { // what the page's address says already
        if (!asked.has(control.name)) continue;
        if (control.type === "checkbox") control.checked = asked.get(control.name) === "1";
        else control.value = asked.get(control.name);
      }
      files(chart);
      chart.addEventListener("refresh", () => { files(chart); load(chart); });
      if (seen) seen.observe(chart);
      else load(chart);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-table-button]");
    if (!button) return;
    const chart = button.closest("[data-figure-url]");
    const place = chart.querySelector("[data-table]");
    place.hidden = !place.hidden;
    button.setAttribute("aria-expanded", String(!place.hidden));
    if (answers.has(chart)) drawTable(chart);
  });
  document.addEventListener("change", (event) => { // a choice inside a chart's shell, such as "log axis", is a parameter of its figure
    const control = event.target.closest("[data-figure-parameter]");
    if (!control) return;
    const chart = control.closest("[data-figure-url]");
    const value = control.type === "checkbox" ? (control.checked ? "1" : "0") : control.value;
    const address = new URL(chart.dataset.figureUrl, location.href);
    address.searchParams.set(control.name, value);
    chart.dataset.figureUrl = address.pathname + address.search;
    remember({ [control.name]: value });
    files(chart);
    load(chart);
  });
  root.addEventListener("ridgeline:theme", () => {
    resolved = new Map();
    for (const chart of document.querySelectorAll("[data-started]")) draw(chart);
  });
  window.addEventListener("beforeprint", () => {
    for (const plot of document.querySelectorAll(".js-plotly-plot")) window.Plotly.Plots.resize(plot);
  });
  document.addEventListener("htmx:afterSwap", (event) => start(event.detail.target));
  document.addEventListener("htmx:beforeSwap", (event) => {
    for (const plot of event.detail.target.querySelectorAll?.(".js-plotly-plot") ?? []) window.Plotly.purge(plot);
  });
  keepPlace();
  start(document); // this script is deferred: the page is parsed and plotly has run
})();
