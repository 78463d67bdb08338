"use strict";
// Names come from users: they are set as text or as attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function read(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// ---- tables

// What is missing stands last, whichever way a column is sorted.
function gapLast(sign) {
  return (a, b) => {
    const [x, y] = [a, b].map((v) => (v === "" || v === null ? null : Number(v)));
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  };
}
DataTable.type("gap", { order: { asc: gapLast(1), desc: gapLast(-1) } });

function reachable(table) {
  // A box that scrolls must be reachable by keyboard.
  const box = table.closest(".dt-layout-table");
  for (const [key, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": table.caption.textContent }))
    box.setAttribute(key, value);
}

const FEW = 4; // rows that are seen at a glance

function start(table) {
  const headings = [...table.tHead.rows[0].cells];
  const numbers = headings.flatMap((th, i) => (th.classList.contains("num") ? [i] : []));
  const few = table.tBodies[0].rows.length <= FEW;
  const made = new DataTable(table, {
    paging: table.tBodies[0].rows.length > 100,
    pageLength: 50,
    lengthChange: false,
    order: [],
    autoWidth: false,
    columnDefs: [{ targets: numbers, type: "gap", className: "num" }],
    layout: { topStart: () => chooser(headings, () => made), topEnd: few ? null : "search", bottomStart: few ? null : "info", bottomEnd: "paging" },
    language: { search: "Filter", info: "_TOTAL_ rows", infoFiltered: "of _MAX_", infoEmpty: "No row", zeroRecords: "No row matches." },
  });
  reachable(table);
}

function chooser(headings, made) {
  const column = headings.findIndex((th) => th.hasAttribute("data-choose"));
  if (column < 0) return element("span");
  const select = element("select", {}, [element("option", { value: "", text: "all" })]);
  const cells = [...headings[column].closest("table").tBodies[0].rows].map((row) => row.cells[column].textContent);
  for (const name of new Set(cells)) select.append(element("option", { value: name, text: name }));
  select.addEventListener("change", () => {
    made().column(column).search(select.value === "" ? "" : (text) => text === select.value).draw();
  });
  return element("label", { class: "choose", text: "Data set " }, [select]);
}

// ---- cases

const HUES = 7; // of structures, in page.css

function nothing(paths) {
  return paths !== null && [paths].flat().every((d) => d === "");
}

class Browser {
  constructor(box) {
    this.box = box;
    this.head = read(`${box.id}-head`);
    this.shows = this.head.structures.length ? "Area" : "Lesion"; // what sizes are of
    this.blocks = new Map();
    this.current = null;
    this.metric = 0;
    this.model = 0;
    this.panel = box.querySelector(".case");
    this.choices();
    this.makeTable();
    this.drawPoints();
    this.panel.addEventListener("keydown", (event) => this.key(event));
    this.box.querySelector("table.cases").addEventListener("keydown", (event) => this.key(event));
  }

  choices() {
    const fill = (selector, names, chosen) => {
      const select = this.box.querySelector(selector);
      names.forEach((name, i) => select.append(element("option", { value: i, text: name })));
      select.addEventListener("change", () => chosen(Number(select.value)));
    };
    fill("select.metric", this.head.metrics.map((m) => m.name), (i) => {
      this.metric = i;
      this.table.rows().invalidate("data").draw(false);
      this.drawPoints();
    });
    fill("select.model", this.head.models, (i) => {
      this.model = i;
      this.drawPoints();
    });
  }

  value(metric, whole) {
    const { digits } = this.head.metrics[metric];
    return whole === null || whole === undefined ? "n/a" : (whole / 10 ** digits).toFixed(digits);
  }

  withUnit(metric, whole) {
    const unit = this.head.metrics[metric].unit;
    return whole === null || whole === undefined || !unit ? this.value(metric, whole) : `${this.value(metric, whole)} ${unit}`;
  }

  link(i) {
    return `#case/${this.box.id}/${encodeURIComponent(this.head.cases[i][0])}`;
  }

  makeTable() {
    const { cases, models, means } = this.head;
    const number = (title, of) => ({
      title,
      type: "gap",
      className: "num",
      data: null,
      render: (i, kind) => {
        const whole = of(i);
        if (kind === "display" || kind === "filter") return whole === null ? "n/a" : this.shown(of, whole);
        return whole === null ? "" : whole;
      },
    });
    const text = (title, of) => ({ title, data: null, type: "string", render: (i, kind) => (kind === "display" ? element("span", { text: of(i) }) : escaped(of(i))) });
    const columns = [
      { title: "Case", data: null, type: "gap", className: "name", render: (i, kind) => (kind === "display" ? element("a", { href: this.link(i), text: cases[i][0] }) : kind === "sort" ? i : escaped(cases[i][0])) },
    ];
    if (cases.some((c) => c[1] !== null)) columns.push(text("Class", (i) => cases[i][1] ?? "n/a"));
    const size = (i) => cases[i][2];
    if (cases.some((c) => c[2] !== null)) columns.push(number(`${this.shows} (px)`, size));
    this.size = size;
    models.forEach((name, k) => columns.push(number(name, (i) => means[this.metric][k][i])));
    this.table = new DataTable(this.box.querySelector("table.cases"), {
      data: cases.map((_, i) => i),
      columns: columns.map((c) => ({ ...c, title: escaped(c.title) })),
      pageLength: 10,
      lengthChange: false,
      order: [],
      autoWidth: false,
      deferRender: true,
      createdRow: (row, i) => row.classList.toggle("chosen", i === this.current),
      layout: { topStart: null, topEnd: "search", bottomStart: "info", bottomEnd: "paging" },
      language: { search: "Filter", info: "_START_ to _END_ of _TOTAL_ cases", infoFiltered: "of _MAX_", infoEmpty: "No case", zeroRecords: "No case matches." },
    });
    const node = this.box.querySelector("table.cases");
    reachable(node);
    node.tBodies[0].addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (event.target.closest("a") || !row) return;
      const i = this.table.row(row).data();
      if (i !== undefined) location.hash = this.link(i);
    });
  }

  shown(of, whole) {
    return of === this.size ? String(whole) : this.value(this.metric, whole);
  }

  drawPoints() {
    const { cases, classes, means, metrics, models } = this.head;
    const [width, height, left, bottom] = [420, 250, 52, 40];
    const values = means[this.metric][this.model];
    const known = values.flatMap((v, i) => (v === null ? [] : [i]));
    const top = metrics[this.metric].unit === "%" ? 100 * 10 ** metrics[this.metric].digits : Math.max(1, ...known.map((i) => values[i]));
    const sizes = known.map((i) => Math.log10(Math.max(1, cases[i][2] ?? 1)));
    const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
    const byClass = this.head.byClass;
    const across = (i, k) => {
      // The golden ratio spreads the points of a class evenly, the same way each time.
      if (byClass) return (classes.indexOf(cases[i][1]) + 0.15 + 0.7 * ((i * 0.618034) % 1)) / classes.length;
      return high > low ? (sizes[k] - low) / (high - low) : 0.5;
    };
    const x = (share) => left + 8 + share * (width - left - 24);
    const y = (v) => height - bottom - 6 - (v / top) * (height - bottom - 20);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    const label = (text, attributes) => {
      const node = shape("text", attributes);
      node.textContent = text;
      svg.append(node);
    };
    svg.setAttribute("aria-label", `${metrics[this.metric].name} of ${models[this.model]}, a point a case. The table has the same numbers.`);
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(shape("line", { class: "axis", x1: left, x2: width - 8, y1: y(share * top), y2: y(share * top) }));
      label((share * top / 10 ** metrics[this.metric].digits).toFixed(0), { x: left - 6, y: y(share * top) + 4, "text-anchor": "end" });
    }
    const { name, unit } = metrics[this.metric];
    label(unit ? `${name} (${unit})` : name, { x: 12, y: height / 2 - 15, "text-anchor": "middle", transform: `rotate(-90 12 ${height / 2 - 15})` });
    if (byClass) classes.forEach((c, k) => label(c.length > 18 ? `${c.slice(0, 17)}…` : c, { x: x((k + 0.5) / classes.length), y: height - 22, "text-anchor": "middle" }));
    else if (known.length) {
      for (const share of high > low ? [0, 0.5, 1] : [0.5]) label(Math.round(10 ** (low + share * (high - low))), { x: x(share), y: height - 22, "text-anchor": share === 1 ? "end" : "middle" });
      label(`${this.shows} (px, log scale)`, { x: x(0.5), y: height - 6, "text-anchor": "middle" });
    }
    known.forEach((i, k) => {
      const point = shape("circle", { cx: x(across(i, k)).toFixed(1), cy: y(values[i]).toFixed(1), r: known.length > 300 ? 3.5 : 5, "data-case": i });
      const title = shape("title", {});
      title.textContent = `${cases[i][0]}: ${this.withUnit(this.metric, values[i])}`;
      point.append(title);
      point.classList.toggle("chosen", i === this.current);
      svg.append(point);
    });
    svg.addEventListener("click", (event) => {
      const point = event.target.closest("circle");
      if (point) location.hash = this.link(Number(point.dataset.case));
    });
    this.box.querySelector(".points").replaceChildren(svg);
    this.raise();
  }

  detail(i) {
    const n = Math.floor(i / this.head.chunk);
    if (!this.blocks.has(n)) this.blocks.set(n, read(`${this.box.id}-${n}`));
    return this.blocks.get(n)[i % this.head.chunk];
  }

  order() {
    return this.table.rows({ search: "applied", order: "applied" }).data().toArray();
  }

  open(i, focus) {
    this.current = i;
    this.turnTo(i);
    this.table.rows().every(function () {
      this.node()?.classList.toggle("chosen", this.data() === i);
    });
    for (const point of this.box.querySelectorAll("circle")) point.classList.toggle("chosen", Number(point.dataset.case) === i);
    this.raise();
    this.show(i);
    if (focus) {
      this.panel.focus({ preventScroll: true });
      this.panel.scrollIntoView({ block: "nearest" });
    }
  }

  raise() {
    // What is drawn last lies on top.
    const point = this.box.querySelector("circle.chosen");
    point?.parentNode.append(point);
  }

  turnTo(i) {
    const place = this.order().indexOf(i);
    const page = Math.floor(place / this.table.page.len());
    if (place >= 0 && page !== this.table.page()) this.table.page(page).draw("page");
  }

  step(by) {
    const order = this.order();
    const next = order[order.indexOf(this.current) + by];
    if (next !== undefined) {
      history.replaceState(null, "", this.link(next));
      this.open(next, true);
    }
  }

  key(event) {
    if (event.target.closest("input, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by && this.current !== null) {
      event.preventDefault();
      this.step(by);
    } else if (event.key === "Escape") this.box.querySelector("tr.chosen a")?.focus();
  }

  show(i) {
    const [name, label, size] = this.head.cases[i];
    const order = this.order();
    const place = order.indexOf(i);
    const button = (text, by, possible) => {
      const made = element("button", { type: "button", text });
      made.disabled = !possible;
      made.addEventListener("click", () => this.step(by));
      return made;
    };
    const facts = [label === null ? "" : `class ${label}`, size === null ? "" : size ? `${this.shows.toLowerCase()} ${size} px` : "no lesion"].filter(Boolean).join(", ");
    const detail = this.detail(i);
    const title = element("h4", { text: name });
    this.panel.setAttribute("aria-label", `Case ${name}`);
    this.panel.replaceChildren(
      element("div", { class: "case-head" }, [
        element("div", {}, [title, element("span", { class: "basis", text: facts })]),
        element("div", {}, [button("← Previous", -1, place > 0), " ", button("Next →", 1, place >= 0 && place < order.length - 1)]),
      ]),
      ...this.legend(detail),
      element("div", { class: "cards" }, this.cards(detail, name)),
    );
  }

  legend(detail) {
    if (this.head.byClass || detail.target) return [];
    const toggle = (what, text) => {
      const box = element("input", { type: "checkbox" });
      box.checked = !this.panel.classList.contains(`hide-${what}`);
      box.addEventListener("change", () => this.panel.classList.toggle(`hide-${what}`, !box.checked));
      const key = what === "image" ? [] : [element("span", { class: `key ${what}` })];
      return element("label", {}, [box, " ", ...key, text]);
    };
    const all = [toggle("reference", "reference"), toggle("prediction", "prediction")];
    if (detail.image) all.unshift(toggle("image", "image"));
    this.head.structures.forEach((name, n) => all.push(toggle(`s${n % HUES}`, name)));
    return [element("div", { class: this.head.structures.length ? "legend structures" : "legend" }, all)];
  }

  cards(detail, name) {
    if (detail.target) {
      const good = element("img", { src: detail.target, alt: `Case ${name}, target` });
      const target = element("div", { class: "card" }, [element("h4", { text: "Target" }), element("div", { class: "compare" }, [good])]);
      return [target, ...this.head.models.map((_, k) => this.card(detail, k, this.compare(detail, k, name)))];
    }
    if (this.head.byClass && detail.image) {
      const picture = element("div", { class: "card" }, [element("h4", { text: "Image" }), this.picture(detail, null, name)]);
      return [picture, ...this.head.models.map((_, k) => this.card(detail, k, null))];
    }
    return this.head.models.map((_, k) => this.card(detail, k, this.head.byClass ? null : this.picture(detail, k, name)));
  }

  card(detail, k, picture) {
    const { links, models } = this.head;
    const heading = element("h4", {}, [element("a", { href: `#${links[k]}`, text: models[k], title: "Where these numbers come from" })]);
    return element("div", { class: "card" }, [heading, ...(picture ? [picture] : []), this.numbers(detail, k)]);
  }

  // The input left of a line that a slider moves, and what the model made of it right of the line.
  compare(detail, k, name) {
    if (!detail.outputs[k]) return element("div", { class: "none", text: "No image was kept." });
    const input = element("img", { src: detail.image, alt: `Case ${name}, input` });
    const output = element("img", { class: "output", src: detail.outputs[k], alt: `Case ${name}, output of ${this.head.models[k]}` });
    const box = element("div", { class: "compare" }, [input, output, element("div", { class: "line" })]);
    const slider = element("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": "How much of the input is shown" });
    const move = () => box.style.setProperty("--at", `${slider.value}%`);
    slider.addEventListener("input", move);
    slider.addEventListener("keydown", (event) => {
      if (event.key.startsWith("Arrow")) event.stopPropagation(); // it moves the slider, not to another case
    });
    move();
    return element("div", {}, [box, element("label", { class: "slide" }, ["input", slider, "output"])]);
  }

  picture(detail, k, name) {
    const predicted = k === null ? null : detail.predictions[k];
    if (!detail.image && detail.reference === null) return element("div", { class: "none", text: "No masks were kept." });
    const { scale } = this.head;
    const svg = shape("svg", { viewBox: `0 0 ${scale * detail.w} ${scale * detail.h}`, role: "img" });
    // One path a mask, or a list of them, one a structure.
    const several = this.head.structures.length > 0;
    const draw = (paths, what) =>
      [paths ?? []].flat().forEach((d, n) => {
        if (d) svg.append(shape("path", { class: several ? `outline ${what} s${n % HUES}` : `outline ${what}`, d, transform: "translate(.5 .5)" }));
      });
    const said = predicted === null ? "" : nothing(predicted) ? ", nothing predicted" : ", with the prediction's contour";
    svg.setAttribute("aria-label", `Case ${name}${detail.image ? "" : ", without the image"}${said}`);
    if (detail.image) svg.append(shape("image", { href: detail.image, width: scale * detail.w, height: scale * detail.h, preserveAspectRatio: "none" }));
    draw(detail.reference, "reference");
    draw(predicted, "prediction");
    return svg;
  }

  numbers(detail, k) {
    const { classes, metrics, seeds } = this.head;
    const byClass = this.head.byClass;
    const mean = (values) => (values.includes(null) || !values.length ? null : values.reduce((a, b) => a + b, 0) / values.length);
    const row = (name, said, values) =>
      element("tr", {}, [
        element("th", { scope: "row", text: name }),
        ...(byClass ? [element("td", { text: said })] : []),
        ...values.map((v, m) => element("td", { class: "num", text: this.value(m, v) })),
      ]);
    const rows = seeds[k].map((seed, s) => {
      const said = byClass ? detail.said[k][s] : null;
      return row(`seed ${seed}`, said === null ? "n/a" : classes[said], detail.values[k].map((values) => values[s]));
    });
    if (seeds[k].length > 1) rows.push(row("mean", "", detail.values[k].map(mean)));
    const names = metrics.map((m) => element("th", { scope: "col", class: "num", text: m.unit ? `${m.name} (${m.unit})` : m.name }));
    const head = [element("td"), ...(byClass ? [element("th", { scope: "col", text: "Says" })] : []), ...names];
    const table = element("table", {}, [element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, rows)]);
    const first = nothing(detail.predictions[k]) ? `Seed ${seeds[k][0]} predicts nothing.` : `Contour of seed ${seeds[k][0]}.`;
    const told = detail.outputs?.[k] ? `Image of seed ${seeds[k][0]}.` : byClass || detail.predictions[k] === null ? "" : first;
    const notes = told ? [element("p", { class: "basis", text: told })] : [];
    return element("div", { class: "scroll" }, [...notes, table]);
  }
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

// ---- the page

const browsers = new Map();

function follow() {
  const [kind, id, ...rest] = location.hash.slice(1).split("/");
  const browser = browsers.get(id);
  if (kind === "case" && browser) {
    const name = decoded(rest.join("/"));
    const i = browser.head.cases.findIndex((c) => c[0] === name);
    if (i >= 0) browser.open(i, true);
    return;
  }
  const row = document.getElementById(kind);
  if (row?.tagName === "TR") {
    row.querySelector("details").open = true;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center" });
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

for (const table of document.querySelectorAll("table.grid")) start(table);
for (const box of document.querySelectorAll(".browser")) {
  const browser = new Browser(box);
  browsers.set(box.id, browser);
  if (browser.head.cases.length) browser.open(0, false);
}
addEventListener("hashchange", follow);
follow();

// What is folded is printed too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false;
});
