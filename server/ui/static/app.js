// Keys, times that move, and the choice of light or dark. Everything works without it.
"use strict";
(() => {
  const root = document.documentElement;
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  let skew = 0; // the server's clock less ours, in ms: countdowns follow the server

  const span = (s) => {
    const two = (n) => String(n).padStart(2, "0");
    if (s >= 172800) return Math.floor(s / 86400) + " days";
    if (s >= 3600) return Math.floor(s / 3600) + ":" + two(Math.floor(s / 60) % 60) + ":" + two(s % 60);
    return Math.floor(s / 60) + ":" + two(s % 60);
  };
  const since = (s) => {
    if (s < 0) return "in the future";
    if (s < 60) return s + " s ago";
    if (s < 3600) return Math.floor(s / 60) + " min ago";
    if (s < 172800) return Math.floor(s / 3600) + " h ago";
    return Math.floor(s / 86400) + " days ago";
  };

  // <time data-due="RFC 3339" data-from="RFC 3339" [data-paused]>: how long is left;
  // from half of the span on it warns. The text is written by the server as well.
  function count(el, now) {
    if (el.hasAttribute("data-paused")) return;
    const due = Date.parse(el.dataset.due), from = Date.parse(el.dataset.from || "");
    if (Number.isNaN(due)) return;
    const left = Math.floor((due - now) / 1000);
    el.textContent = left >= 0 ? span(left) + " left" : span(-left) + " late";
    const half = !Number.isNaN(from) && now - from > (due - from) / 2;
    el.classList.toggle("due-late", left < 0);
    el.classList.toggle("due-half", left >= 0 && half);
    el.classList.toggle("due-ok", left >= 0 && !half);
  }
  function tick() {
    const now = Date.now() + skew;
    all("[data-due]").forEach((el) => count(el, now));
    all("time[data-ago]").forEach((el) => { const t = Date.parse(el.dateTime); if (!Number.isNaN(t)) el.textContent = since(Math.floor((now - t) / 1000)); });
  }

  // Rows: j and k go through the first links of the table's rows.
  function step(by) {
    const links = all("table.rows tbody tr").map((r) => r.querySelector("a")).filter(Boolean);
    if (!links.length) return;
    const row = document.activeElement && document.activeElement.closest("tr");
    const at = links.findIndex((a) => a.closest("tr") === row);
    links[at < 0 ? 0 : Math.min(Math.max(at + by, 0), links.length - 1)].focus();
  }
  function toggleRow() {
    const row = document.activeElement && document.activeElement.closest("tr");
    const box = row && row.querySelector("input[type=checkbox]");
    if (box) { box.checked = !box.checked; counted(); }
  }
  function counted() {
    const n = all("tbody input[type=checkbox]:checked").length;
    all("[data-selected]").forEach((el) => { el.textContent = n + " selected"; });
  }

  let gone = 0; // when g was pressed
  function key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea, dialog[open]")) return;
    const after = Date.now() - gone < 1500;
    gone = 0;
    if (after) {
      const to = all("nav a[data-key]").find((a) => a.dataset.key === e.key);
      if (to) { e.preventDefault(); location.assign(to.href); }
      return;
    }
    const found = { "/": () => { const f = document.querySelector("input[type=search]"); if (f) { f.focus(); f.select(); } }, "j": () => step(1), "k": () => step(-1),
      "x": toggleRow, "?": () => { const d = document.getElementById("keys"); if (d) d.showModal(); }, "g": () => { gone = Date.now(); } }[e.key];
    if (found) { e.preventDefault(); found(); }
  }

  function click(e) {
    const act = e.target.closest("[data-act]");
    if (!act) return;
    if (act.dataset.act === "theme") {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    }
    if (act.dataset.act === "keys") document.getElementById("keys").showModal();
    if (act.dataset.act === "print") window.print();
  }

  document.addEventListener("DOMContentLoaded", () => {
    const now = Date.parse(document.body.dataset.now || "");
    if (!Number.isNaN(now)) skew = now - Date.now();
    tick();
    setInterval(tick, 1000);
    // What is live asks anew when somebody looks and has selected nothing.
    setInterval(() => {
      if (document.visibilityState === "visible" && !document.querySelector("main input:checked, main :focus-within input, dialog[open]")) document.body.dispatchEvent(new CustomEvent("refresh"));
    }, 10000);
  });
  document.addEventListener("htmx:afterSwap", tick);
  document.addEventListener("keydown", key);
  document.addEventListener("click", click);
  document.addEventListener("change", (e) => {
    if (e.target.matches("[data-all]")) all("tbody input[type=checkbox]").forEach((b) => { b.checked = e.target.checked; });
    if (e.target.matches("input[type=checkbox]")) counted();
    if (e.target.matches("[data-submit]")) e.target.form.requestSubmit();
  });
})();
