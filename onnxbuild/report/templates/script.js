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

  const refresh = new Map();  // by table: what to do when the order of its rows is another

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
        refresh.get(table)?.();
      });
    });
  };

  const MOST = 200;  // rows that are laid out at a time: thousands would make every sort wait for seconds

  // Rows for which the page has no room are there in short, and become rows when something is looked for.
  const addRest = (table) => {
    const data = document.getElementById("rest"), rows = data ? JSON.parse(data.textContent) : [];
    const said = document.querySelector(".shown");
    if (rows.length && said) said.textContent += `; the filter finds ${rows.length.toLocaleString("en")} more, in short`;
    const heads = all("thead th", table).map((head) => head.textContent.trim());
    return () => {
      for (const [target, link, kind, verdictKey, size, bytes] of rows) {
        const row = table.tBodies[0].insertRow(), head = document.createElement("th"), to = document.createElement("a");
        head.scope = "row";
        to.href = link;
        to.textContent = target;
        head.append(to);
        row.append(head);
        heads.slice(1).forEach((name, at) => {
          const cell = row.insertCell();
          if (at === 0) { cell.append(document.querySelector(`.tally .mark.${kind}`).cloneNode(true)); cell.dataset.sort = verdictKey; }
          if (name.startsWith("Size")) { cell.className = "num"; cell.textContent = size; cell.dataset.sort = bytes; }
        });
      }
      return rows.splice(0).length;
    };
  };

  const addFilter = (table) => {
    const label = document.createElement("label"), field = document.createElement("input"), said = document.createElement("span");
    label.className = "filter";
    field.type = "search";
    field.placeholder = "name, verdict, metric…";
    said.setAttribute("role", "status");
    label.append("Filter", field, said);
    table.closest(".scroll").before(label);
    const body = table.tBodies[0], known = new Map(), rest = addRest(table);
    const learn = () => [...body.rows].forEach((row) => known.set(row, [row.textContent.toLowerCase(), row.cells[1].textContent.trim()]));
    learn();
    const more = document.createElement("button");
    more.type = "button";
    more.className = "more";
    table.closest(".scroll").after(more);
    let verdict = "", most = MOST;
    const update = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean), asked = words.length || verdict;
      if (asked && rest()) learn();
      let found = 0;
      for (const row of body.rows) {
        const [text, its] = known.get(row);
        row.hidden = !(words.every((word) => text.includes(word)) && (!verdict || its === verdict));
        if (!row.hidden) found += 1;
        row.classList.toggle("beyond", !row.hidden && found > most);
      }
      more.hidden = found <= most;
      more.textContent = `Show all ${found.toLocaleString("en")} rows`;
      said.textContent = asked ? `${found.toLocaleString("en")} of ${known.size.toLocaleString("en")}` : "";
    };
    more.addEventListener("click", () => { most = Infinity; update(); });
    refresh.set(table, update);
    update();
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
