"use strict";
const root = document.documentElement;
root.classList.add("js");

{
  const button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* not kept */ } };
  const show = (theme) => {
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
    button.value = theme;
  };
  show(themes.includes(stored()) ? stored() : "system");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(button.value) + 1) % themes.length];
    show(next);
    keep(next);
  });
}

for (const menu of document.querySelectorAll(".menu")) {
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.open) { menu.open = false; menu.querySelector("summary").focus(); }
  });
}

for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.children[column];
      return cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
    };
    const missing = (value) => value === "" || value === "nan" || value === "-";
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (missing(x) || missing(y)) return missing(x) - missing(y);
      const numbers = !Number.isNaN(Number(x)) && !Number.isNaN(Number(y));
      const order = numbers ? Number(x) - Number(y) : x.localeCompare(y);
      return up ? order : -order;
    }).forEach((row) => body.append(row));
  });
}

for (const input of document.querySelectorAll("input[data-filters]")) {
  const id = input.dataset.filters;
  const rows = [...document.getElementById(id).tBodies[0].rows];
  const told = document.getElementById(id + "-told");
  const also = document.querySelector(`select[data-also="${id}"]`);
  const apply = () => {
    const words = (input.value + " " + also.value).toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.dataset.words;
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = shown + " of " + rows.length + " policies";
  };
  input.addEventListener("input", apply);
  also.addEventListener("change", apply);
  apply();
}

for (const button of document.querySelectorAll("button[data-columns]")) {
  const table = document.getElementById(button.dataset.columns);
  button.hidden = false;
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(table.classList.toggle("all")));
  });
}

for (const film of document.querySelectorAll(".film")) {
  const labels = JSON.parse(film.dataset.labels);
  const picture = film.querySelector("img"), button = film.querySelector(".play");
  const slider = film.querySelector("input"), where = film.querySelector(".where");
  let timer = null, fresh = true;
  const show = (frame) => {
    slider.value = frame;
    const share = labels.length > 1 ? frame / (labels.length - 1) : 0;
    picture.style.objectPosition = "0 " + share * 100 + "%";
    where.textContent = labels[frame];
    slider.setAttribute("aria-valuetext", labels[frame]);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const play = () => {
    if (fresh || Number(slider.value) >= labels.length - 1) show(0);
    fresh = false;
    button.textContent = "Pause";
    timer = setInterval(() => {
      if (Number(slider.value) >= labels.length - 1) stop(); else show(Number(slider.value) + 1);
    }, 250);
  };
  button.addEventListener("click", () => { if (timer === null) play(); else stop(); });
  slider.addEventListener("input", () => { stop(); fresh = false; show(Number(slider.value)); });
  film.querySelector(".controls").hidden = false;
  show(Number(slider.value));
  // It plays by itself once, when it comes into view, unless the reader asked for less motion.
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const watcher = new IntersectionObserver((seen) => {
      if (seen.some((one) => one.isIntersecting)) { watcher.disconnect(); if (timer === null) play(); }
    }, { threshold: 0.6 });
    watcher.observe(picture);
    button.addEventListener("click", () => watcher.disconnect());
    slider.addEventListener("input", () => watcher.disconnect());
  }
}

for (const box of document.querySelectorAll(".commands")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy: " + box.querySelector("pre").getAttribute("aria-label"));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(box.querySelector("pre").textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Failed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  box.append(button);
}

const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
for (const link of document.querySelectorAll('a[href^="#again-"]')) link.addEventListener("click", () => setTimeout(open));
open();
