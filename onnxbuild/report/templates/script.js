"use strict";
// The page is whole without this: it adds sorting, filtering and copying, and opens what a link points into.
(() => {
  const all = (what, root) => [...(root || document).querySelectorAll(what)];

  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
    const number = parseFloat(text.replace(/,/g, "").replace("−", "-"));
    return [text, Number.isNaN(number) ? null : number];
  };

  const collator = new Intl.Collator(undefined, {numeric: true});
  const order = (way) => ([[s, m]], [[t, n]]) => {
    if (m !== null && n !== null) return way * (m - n);
    if ((m === null) !== (n === null)) return m === null ? 1 : -1;
    return way * collator.compare(s, t);
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      if (!head.textContent.trim() || head.classList.contains("chart")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        body.append(...rows.sort(order(way)).map(([, row]) => row));
      });
    });
  };

  const addFilter = (table) => {
    const label = document.createElement("label"), field = document.createElement("input"), said = document.createElement("span");
    label.className = "filter";
    field.type = "search";
    field.placeholder = "name, verdict, metric…";
    said.setAttribute("role", "status");
    label.append("Filter", field, said);
    table.closest(".scroll").before(label);
    const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase(), row.cells[1].textContent.trim()]);
    let verdict = "";
    const update = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text, its] of rows) {
        row.hidden = !(words.every((word) => text.includes(word)) && (!verdict || its === verdict));
        shown += row.hidden ? 0 : 1;
      }
      said.textContent = words.length || verdict ? `${shown} of ${rows.length}` : "";
    };
    field.addEventListener("input", update);
    const buttons = all(".tally").map((tally) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tally";
      button.append(...tally.childNodes);
      button.setAttribute("aria-pressed", "false");
      tally.replaceWith(button);
      button.addEventListener("click", () => {
        const word = button.querySelector(".mark").textContent.trim();
        verdict = verdict === word ? "" : word;
        buttons.forEach((each) => each.setAttribute("aria-pressed", String(verdict !== "" && each === button)));
        update();
      });
      return button;
    });
  };

  const addCopy = (code) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.dataset.copy || code.textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    code.after(button);
  };

  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    if (target.tagName === "SECTION") all("details", target).slice(0, 1).forEach((part) => { part.open = true; });
    target.scrollIntoView();
  };

  all("table").filter((table) => !table.querySelector("tr.group, .waterfall") && table.tBodies[0].rows.length > 2)
    .forEach(makeSortable);
  all("table.index").forEach(addFilter);
  if (navigator.clipboard) all("code[data-copy], .commands td code").forEach(addCopy);
  all(".scroll").forEach((box) => { if (box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight) box.removeAttribute("tabindex"); });
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
