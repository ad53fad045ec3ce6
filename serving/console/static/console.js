// The console's only script. Without it every page works; with it a decision loads no page anew.
"use strict";
(() => {
  const status = document.getElementById("status");
  let fading;

  // The row of a lead after a decision: what was decided, and the way back. The row itself is kept for that.
  const rows = new WeakMap();

  const replace = (item, html) => {
    const part = new DOMParser().parseFromString(html, "text/html").querySelector(".decided");
    if (!part) return false;
    status.textContent = part.dataset.status || "";
    const before = rows.get(item);
    if (part.dataset.reload && before) {
      item.classList.remove("is-decided");
      item.replaceChildren(...before);
      rows.delete(item);
      item.querySelector("button").focus();
    } else {
      if (!before) rows.set(item, [...item.childNodes]);
      item.classList.add("is-decided");
      item.replaceChildren(part);
      part.querySelector("button")?.focus();
    }
    return true;
  };

  const send = async (form, button, item) => {
    const fields = new URLSearchParams(new FormData(form));
    if (button?.name) fields.set(button.name, button.value);
    const answer = await fetch(form.action, { method: "POST", body: fields, headers: { "x-leadloop-part": "1" } });
    return answer.ok && replace(item, await answer.text());
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const item = form.dataset.part === undefined ? null : form.closest(".lead");
    if (!item) return;
    event.preventDefault();
    if (item.getAttribute("aria-busy")) return;
    item.setAttribute("aria-busy", "true");
    let taken = false;
    try {
      taken = await send(form, event.submitter, item);
    } catch { /* without an answer the browser sends the form itself, and shows what is wrong */ }
    item.removeAttribute("aria-busy");
    if (taken) return;
    if (event.submitter?.name) {
      const field = Object.assign(document.createElement("input"), { type: "hidden", name: event.submitter.name, value: event.submitter.value });
      form.append(field);
    }
    form.submit();
  });

  // One reason is asked for at a time, and its field is where one types.
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.("details.reject") || !event.target.open) return;
    for (const other of document.querySelectorAll("details.reject[open]")) if (other !== event.target) other.open = false;
    event.target.querySelector("input[list]").focus();
  }, true);
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && event.target.closest?.("details[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });

  // A choice is a filter at once; what is typed waits for Enter.
  for (const field of document.querySelectorAll(".filters select")) {
    if (field.id !== "segment") field.addEventListener("change", () => field.form.requestSubmit());
  }
  // What was told is told; it covers no row for long.
  new MutationObserver(() => {
    clearTimeout(fading);
    if (status.textContent) fading = setTimeout(() => { status.textContent = ""; }, 6000);
  }).observe(status, { childList: true });
})();
