"use strict";
// Filters, sorting and paired tests. What is chosen stands in the address after '#', so that a link keeps it.
(() => {
  const all = (root, what) => [...root.querySelectorAll(what)];
  const form = document.querySelector(".filters");
  const fields = all(form, "[data-filter]");
  const rows = all(document, "table.board tbody tr");

  for (const select of fields.filter((f) => f.options && f.options.length === 1)) {
    const values = [...new Set(rows.map((r) => r.dataset[select.dataset.filter]))].filter(Boolean).sort();
    for (const value of values) select.add(new Option(value, value));
  }

  const value = (field) => (field.type === "checkbox" ? (field.checked ? "1" : "") : field.value);

  function fits(row) {
    return fields.every((field) => {
      const wanted = value(field), own = row.dataset[field.dataset.filter];
      if (!wanted) return true;
      return field.dataset.filter === "parameters" ? Number(own) <= Number(wanted) : own === wanted;
    });
  }

  function filter() {
    let shown = 0;
    for (const row of rows) {
      row.hidden = !fits(row);
      shown += row.hidden ? 0 : 1;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
  }

  function remember() {
    const found = new URLSearchParams();
    for (const field of fields) if (value(field)) found.set(field.dataset.filter, value(field));
    for (const section of all(document, "[data-table]")) {
      const pairs = section.querySelector(".pairs");
      if (!pairs.hidden) {
        const [a, b] = all(pairs, "select").map((s) => s.value);
        found.set(`t${section.dataset.table}`, b === "" ? a : `${a},${b}`);
      }
    }
    const text = found.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => { filter(); remember(); });
  form.querySelector("[data-reset]").addEventListener("click", () => { form.reset(); filter(); remember(); });

  for (const table of all(document, "table.board")) {
    for (const heading of all(table, "th[aria-sort]")) {
      heading.querySelector("button").addEventListener("click", () => sort(table, heading));
    }
  }

  function sort(table, heading) {
    const up = heading.getAttribute("aria-sort") === "descending";
    for (const other of all(table, "th[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const isNumber = heading.classList.contains("num"), i = heading.cellIndex;
    const key = (row) => row.cells[i].dataset.order ?? "";
    const sorted = [...table.tBodies[0].rows].sort((x, y) => {
      const [a, b] = [key(x), key(y)];
      if (a === "" || b === "") return (a === "") - (b === "");  // gaps stand last
      const way = isNumber ? Number(a) - Number(b) : a.localeCompare(b);
      return up ? way : -way;
    });
    table.tBodies[0].append(...sorted);
  }

  for (const section of all(document, "[data-table]")) {
    const pairs = section.querySelector(".pairs");
    const [first, second] = all(pairs, "select");
    const data = JSON.parse(section.querySelector('script[type="application/json"]').textContent);
    const names = [...first.options].map((o) => o.textContent);
    const draw = () => {
      const a = Number(first.value), b = second.value === "" ? null : Number(second.value);
      const has = (p, i) => p.a === i || p.b === i;
      const lines = data.filter((p) => has(p, a) && (b === null || has(p, b)));
      const body = pairs.querySelector("tbody");
      body.replaceChildren(...lines.map((p) => {
        const row = document.createElement("tr");
        const unit = p.unit && p.unit !== "score" ? ` ${p.unit}` : "";
        const texts = [names[p.a], names[p.b], p.metric, p.difference + unit, p.p, p.holm, p.apart ? "yes" : "no", p.n];
        texts.forEach((text, i) => {
          const cell = row.insertCell();
          cell.textContent = text;
          if (i > 2 && i < 6) cell.className = "num";
        });
        return row;
      }));
      if (!lines.length) body.insertRow().insertCell().textContent = "No test: choose two models of the first rows.";
    };
    const open = (a, b) => {
      first.value = a;
      second.value = b;
      pairs.hidden = false;
      draw();
    };
    pairs.addEventListener("change", () => { draw(); remember(); });
    section.addEventListener("click", (event) => {
      const button = event.target.closest("[data-compare]");
      if (!button) return;
      open(button.closest("tr").dataset.i, "");
      remember();
      first.focus();
    });
    section.openPairs = open;
  }

  const kept = new URLSearchParams(location.hash.startsWith("#row-") ? "" : location.hash.slice(1));
  for (const field of fields) {
    const wanted = kept.get(field.dataset.filter);
    if (wanted === null) continue;
    if (field.type === "checkbox") field.checked = wanted === "1";
    else field.value = [...field.options].some((o) => o.value === wanted) ? wanted : "";
  }
  for (const section of all(document, "[data-table]")) {
    const [a, b] = (kept.get(`t${section.dataset.table}`) ?? "").split(",");
    if (/^\d+$/.test(a)) section.openPairs(a, b ?? "");
  }
  filter();
})();
