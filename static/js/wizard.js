// Wizard: shows one step of a long form at a time; without script all steps stand below each other and work the same.
(() => {
  "use strict";
  const form = document.querySelector("form.wizard");
  if (!form) return;
  const steps = [...form.querySelectorAll("[data-step]")];
  const links = [...form.querySelectorAll("[data-step-link]")];
  const back = form.querySelector("[data-step-back]");
  const next = form.querySelector("[data-step-next]");
  const submit = form.querySelector("button[value='submit']");
  let at = 0;

  function show(index, focus) {
    at = Math.max(0, Math.min(index, steps.length - 1));
    steps.forEach((step, i) => { step.hidden = i !== at; });
    links.forEach((link, i) => {
      const item = link.closest("li");
      if (i === at) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      if (item.dataset.state !== "wrong") item.dataset.state = i < at ? "done" : "";
    });
    back.hidden = at === 0;
    next.hidden = at === steps.length - 1;
    next.classList.toggle("button--primary", !next.hidden);
    submit.classList.toggle("button--primary", next.hidden);
    for (const node of steps[at].querySelectorAll("[hx-trigger='shown']")) node.dispatchEvent(new CustomEvent("shown"));
    if (focus) {
      form.scrollIntoView({ block: "start" });
      const heading = steps[at].querySelector("h2");
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
    }
  }
  function showStepOf(node) {
    const index = steps.indexOf(node.closest("[data-step]"));
    if (index >= 0) show(index, false);
  }

  form.dataset.ready = "";
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(steps.findIndex((step) => step.dataset.step === link.dataset.stepLink), true);
    });
  }
  back.addEventListener("click", () => show(at - 1, true));
  next.addEventListener("click", () => show(at + 1, true));
  // an error of the preview leads to its field, in whatever step that stands
  form.addEventListener("click", (event) => {
    const link = event.target.closest("[data-field-link]");
    const field = link && document.getElementById(link.hash.slice(1));
    if (!field) return;
    event.preventDefault();
    showStepOf(field);
    field.focus();
    field.scrollIntoView({ block: "center" });
  });
  // Enter in a field never sends the form by its first button, which would fill in a preset
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input")) event.preventDefault();
  });
  window.addEventListener("load", () => {
    show(Math.max(0, steps.findIndex((step) => step.dataset.step === form.dataset.opensStep)), false);
    const wrong = form.querySelector("[aria-invalid='true']");
    if (wrong) wrong.focus();
  });
})();
