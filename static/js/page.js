// Page: what every page needs: menus, dialogs, toasts, copying, the mobile menu, times in the chosen zone, live panels.
(() => {
  "use strict";
  const root = document.documentElement;
  const icons = root.dataset.icons;

  // --- menus close on Escape and on a click elsewhere -----------------------------------------------------------------
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // --- dialogs: [data-opens="id"] opens, [data-closes] closes; one dialog serves many rows: the opener's data-fill names
  // what goes into its fields (by name) and texts ([data-filled]) ---------------------------------------------------------
  function fill(dialog, values) {
    for (const [name, value] of Object.entries(values)) {
      for (const field of dialog.querySelectorAll(`[name="${CSS.escape(name)}"]`)) field.value = value;
      for (const text of dialog.querySelectorAll(`[data-filled="${CSS.escape(name)}"]`)) text.textContent = value;
    }
  }
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) {
      const dialog = document.getElementById(opener.dataset.opens);
      if (dialog) {
        event.preventDefault();
        fill(dialog, JSON.parse(opener.dataset.fill || "{}"));
        dialog.showModal();
      }
      return;
    }
    const closer = event.target.closest("[data-closes]");
    if (closer) closer.closest("dialog").close();
    else if (event.target.matches("dialog")) event.target.close(); // the backdrop belongs to the dialog
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-print]")) window.print();
  });

  // --- the navigation on narrow screens --------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-nav-button]");
    if (!button) return;
    const nav = document.getElementById(button.getAttribute("aria-controls"));
    const open = nav.toggleAttribute("data-open");
    button.setAttribute("aria-expanded", String(open));
    for (const group of nav.querySelectorAll("details")) group.open = open;
  });

  // --- what has been seen: [data-dismisses="name"] takes its card away and remembers that in a cookie ----------------------
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-dismisses]");
    if (!button) return;
    document.cookie = `${button.dataset.dismisses}=seen; path=/; max-age=31536000; samesite=lax`;
    button.closest("[data-dismissable]").remove();
  });

  // --- lists with ticks: one box ticks all, and what is done to the ticked rows says how many there are -------------------
  document.addEventListener("change", (event) => {
    const list = event.target.closest("[data-ticks]");
    if (!list) return;
    if (event.target.matches("[data-tick-all]")) {
      for (const box of list.querySelectorAll("tbody input[type=checkbox]")) box.checked = event.target.checked;
    }
    const ticked = [...list.querySelectorAll("tbody input[type=checkbox]:checked")];
    for (const node of list.querySelectorAll("[data-ticked]")) node.textContent = String(ticked.length);
    for (const node of list.querySelectorAll("[data-needs-ticks]")) node.toggleAttribute("hidden", !ticked.length);
  });

  // --- forms that send themselves when a choice changes, without empty fields in the address ---------------------------
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (form && event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
  });
  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData.entries()]) {
      if (value === "") event.formData.delete(name);
    }
  });

  // --- copying and toasts -----------------------------------------------------------------------------------------------
  function toast(text) {
    const place = document.getElementById("toasts");
    const item = document.createElement("div");
    item.className = "toast";
    const words = document.createElement("span");
    words.className = "toast__text";
    words.textContent = text;
    const close = document.createElement("button");
    close.className = "toast__close";
    close.type = "button";
    close.setAttribute("aria-label", "Dismiss");
    close.innerHTML = `<svg class="icon" aria-hidden="true"><use href="${icons}#close"></use></svg>`;
    close.addEventListener("click", () => item.remove());
    item.append(words, close);
    place.append(item);
    setTimeout(() => item.remove(), 8000);
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      toast("Copied to the clipboard");
    } catch {
      toast("The browser does not allow copying here; select the text instead");
    }
  });

  // --- times: <time data-time> in UTC, local or site time (query string `tz`, else the last choice) ----------------------
  function zone() {
    const chosen = new URLSearchParams(location.search).get("tz");
    if (chosen === "local") return undefined;
    if (chosen === "site") return document.body.dataset.siteZone || "UTC";
    return chosen || "UTC";
  }
  function formatter(options) {
    try {
      return new Intl.DateTimeFormat("en-GB", { timeZone: zone(), hourCycle: "h23", ...options });
    } catch {
      return new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hourCycle: "h23", ...options });
    }
  }
  // 2026-03-02 12:00:00, the wall clock of the chosen zone; charts give plotly the same text
  function wallClock(value) {
    const parts = Object.fromEntries(
      formatter({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" })
        .formatToParts(new Date(value)).map((part) => [part.type, part.value]),
    );
    return `${parts.year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}:${parts.second}`;
  }
  // the instant at which the wall clock of the zone shows this text
  function instantOf(text) {
    const guess = new Date(`${text.replace(" ", "T")}Z`);
    const shown = new Date(`${wallClock(guess).replace(" ", "T")}Z`);
    return new Date(guess.getTime() - (shown.getTime() - guess.getTime()));
  }
  // 2 Mar 12:00
  function shortClock(value) {
    return formatter({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(new Date(value)).replace(",", "");
  }
  function ago(value) {
    const seconds = Math.round((Date.now() - new Date(value)) / 1000);
    const size = Math.abs(seconds);
    const text = size < 60 ? `${size} s` : size < 5400 ? `${Math.round(size / 60)} min`
      : size < 129600 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} d`;
    return seconds >= 0 ? `${text} ago` : `in ${text}`;
  }
  function showTimes(scope = document) {
    for (const node of scope.querySelectorAll("time[data-time]")) {
      const full = wallClock(node.dateTime);
      const name = zone() ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
      node.textContent = node.dataset.time === "ago" ? ago(node.dateTime)
        : node.dataset.time === "short" ? shortClock(node.dateTime) : full.slice(0, 16);
      node.title = `${full} ${name}`;
    }
  }

  // --- live panels: [data-live="seconds"] is refreshed unless hidden, hovered, focused or on screen as a dialog -----------
  function quiet(node) {
    return document.hidden || node.checkVisibility?.() === false || node.matches(":hover") || node.contains(document.activeElement) || document.querySelector("dialog[open]");
  }
  function keepLive() {
    for (const node of document.querySelectorAll("[data-live]")) {
      const due = Number(node.dataset.refreshedAt || performance.now()) + Number(node.dataset.live) * 1000;
      if (!node.dataset.refreshedAt) node.dataset.refreshedAt = String(performance.now());
      if (performance.now() < due || quiet(node)) continue;
      node.dataset.refreshedAt = String(performance.now());
      node.dispatchEvent(new CustomEvent("refresh", { bubbles: false }));
    }
  }
  setInterval(keepLive, 1000);
  setInterval(() => document.hidden || showTimes(), 20000);

  // an error of a panel comes back in its place, with a way to try again
  document.addEventListener("htmx:responseError", (event) => {
    const target = event.detail.target;
    if (!target || target.dataset.loaded) return; // keep what is on screen; the next refresh tries again
    target.innerHTML = `<div class="alert alert--fail" role="alert"><svg class="icon" aria-hidden="true"><use href="${icons}#alert"></use></svg><div class="alert__text"><p></p></div></div>`;
    target.querySelector("p").textContent = `This part of the page could not be loaded (${event.detail.xhr.status}). Reload the page to try again.`;
  });
  document.addEventListener("htmx:sendError", (event) => {
    if (event.detail.target && !event.detail.target.dataset.loaded) {
      event.detail.target.textContent = "The server did not answer. Check the connection and reload the page.";
    }
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    event.detail.target.dataset.loaded = "true";
    showTimes(event.detail.target);
  });

  document.addEventListener("DOMContentLoaded", () => {
    showTimes();
    for (const message of document.querySelectorAll("[data-toast]")) {
      toast(message.textContent);
      message.remove();
    }
  });

  window.ridgeline = { ...window.ridgeline, toast, wallClock, instantOf, zone, quiet, showTimes };
})();
