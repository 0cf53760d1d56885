// Filters, sorting, downloads and charts of a page. All state is in the fragment of the address, which also works from a disk.
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const SHOWN = 100; // rows before "Show all rows"
  const SHOWN_IN_CELL = 4; // of the matrix: two directions, and some of a fusion's many
  const form = document.getElementById("filters");
  const selects = form ? [...form.querySelectorAll("select")] : [];
  const dates = form ? [...form.querySelectorAll("input[type=date]")] : [];
  const order = new Intl.Collator("en", { numeric: true });
  const views = new Map();
  let drawing = 0;
  let state = readState(); // what was asked for
  const chosen = {}; // what the filters show: the same, and the first on offer where one is needed

  const tables = new Map(page.tables.map((table) => [table.id, {
    ...table,
    rows: table.rows.map((row) => Object.fromEntries(table.keys.map((key, i) => [key, row[i]]))),
    all: false,
  }]));

  function readState() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  }

  function writeState() {
    const given = Object.entries(state).filter(([, value]) => value !== "");
    const fragment = given.length ? "#" + new URLSearchParams(given) : "#";
    if (fragment !== (location.hash || "#")) history.replaceState(null, "", fragment);
    const shared = given.filter(([key]) => key !== "sort");
    for (const link of document.querySelectorAll("nav a")) {
      link.hash = shared.length ? new URLSearchParams(shared).toString() : "";
    }
  }

  // ---- filters

  const passes = (row, key) => !(key in row) || !chosen[key] || String(row[key]) === chosen[key];

  function inDates(row) {
    if (!("date" in row)) return true;
    if (row.date === null) return !state.from && !state.to; // a file of another tool tells no date
    const day = row.date.slice(0, 10);
    return (!state.from || day >= state.from) && (!state.to || day <= state.to);
  }

  const valuesOf = (rows, key) => [...new Set(rows.filter((row) => (row[key] ?? null) !== null).map((row) => String(row[key])))];

  // Each filter offers what the ones before it leave; one that must have a value takes the first on offer.
  function offer() {
    const every = [...tables.values()].flatMap((table) => table.rows);
    let rows = every.filter(inDates);
    for (const select of selects) {
      const key = select.name;
      const single = "single" in select.dataset;
      const found = valuesOf(rows, key);
      const values = single ? found : ["", ...found.sort(order.compare)];
      const asked = state[key] ?? "";
      // A value that another choice rules out stays where "all" is on offer: an empty table then explains itself.
      if (!single && !values.includes(asked) && valuesOf(every, key).includes(asked)) values.push(asked);
      chosen[key] = values.includes(asked) ? asked : values[0] ?? "";
      select.replaceChildren(...values.map((value) => new Option(value === "" ? "all" : value, value)));
      select.value = chosen[key];
      select.disabled = values.length === 0;
      rows = rows.filter((row) => passes(row, key));
    }
    for (const input of dates) input.value = state[input.name] ?? "";
  }

  const visible = (table) => table.rows.filter((row) => inDates(row) && selects.every((select) => passes(row, select.name)));

  // ---- tables

  function compare(a, b) {
    if (a === null || b === null) return (a === null) - (b === null); // what is missing comes last, whichever way
    return typeof a === "number" && typeof b === "number" ? a - b : order.compare(String(a), String(b));
  }

  function sorted(table, rows) {
    const [id, key, way] = (state.sort ?? "").split(".");
    const column = id === table.id && table.columns.find((one) => one.key === key);
    for (const head of document.querySelectorAll(`#table-${table.id} th`)) {
      const own = column && head.dataset.key === key;
      if (own) head.setAttribute("aria-sort", way === "desc" ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    if (!column) return rows;
    const value = (row) => (Array.isArray(row[key]) ? row[key].length : row[key] ?? null);
    const sign = way === "desc" ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return x === null || y === null ? compare(x, y) : sign * compare(x, y);
    });
  }

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // A name breaks behind its dots, dashes and underscores, not within a number, and within a word only where there is no other way.
  function breakable(text) {
    const made = document.createDocumentFragment();
    const parts = text.split(/(?<=[.\-/_])(?<!\d\.(?=\d))(?=\w[\w.])/);
    parts.forEach((part, i) => made.append(...(i ? [element("wbr"), part] : [part])));
    return made;
  }

  // Day and minute, each of which stays whole.
  function moment(value) {
    const made = document.createDocumentFragment();
    const [day, minute] = [value.slice(0, 10), value.slice(11, 16)];
    made.append(element("span", day, "whole"), " ", element("span", minute, "whole"));
    return made;
  }

  const slug = (text) => text.replace(/[^a-z]+/g, "-");
  const percent = (value, digits = 1) => (100 * value).toFixed(digits);
  const points = (value) => (value < 0 ? "−" : "+") + Math.abs(100 * value).toFixed(2);

  function cell(row, column) {
    const value = row[column.key];
    const made = element("td", undefined, `is-${column.kind}`);
    made.dir = "auto";
    made.dataset.label = column.label;
    if (column.kind === "text" && String(value).length > 40) made.classList.add("long");
    if (value === null || value === undefined) {
      made.classList.add("empty");
      made.append(element("span", "–", "none"));
      return made;
    }
    const shown = {
      percent: () => percent(value, column.digits),
      points: () => points(value),
      number: () => value.toLocaleString("en"),
      decimal: () => value.toFixed(4),
      probability: () => (value && value < 0.001 ? value.toExponential(1) : value.toPrecision(2)), // 0.0012, 2.5e-7
      ratio: () => value.toFixed(column.digits),
      date: () => moment(value),
      chip: () => {
        const chip = element("span", undefined, "chip " + slug(value));
        chip.append(breakable(value));
        return chip;
      },
      spark: () => spark(value),
      link: () => Object.assign(element("a", value.split("-").pop()), { href: row.href, title: value }),
      page: () => Object.assign(element("a", value), { href: row.href }),
      text: () => breakable(String(value)),
      items: () => shownItems(value),
    }[column.kind]();
    made.append(shown);
    if (column.ends && row[column.ends[0]] !== null) {
      const format = column.kind === "points" ? points : percent;
      made.append(" ", element("span", `[${column.ends.map((end) => format(row[end], column.digits)).join(", ")}]`, "interval"));
    }
    return made;
  }

  // ---- the matrix: the rows of a table again, benchmarks against models

  const change = (value) => (value === null ? "" : ` ${points(value)}`);

  // What was measured of one model on one benchmark: a line per direction, and the verdict as a word.
  function results(rows, label) {
    const made = element("td", undefined, "result");
    made.dataset.label = label;
    if (!rows.length) {
      made.classList.add("empty");
      made.append(element("span", "–", "none"));
      return made;
    }
    for (const row of rows.slice(0, SHOWN_IN_CELL)) {
      const line = element("p");
      const link = Object.assign(element("a", percent(row.value)), { href: row.href, title: row.over });
      line.append(element("span", `${row.direction} ${row.metric}`.trim(), "interval"), " ", link);
      if (row.low !== null) line.append(" ", element("span", `[${percent(row.low)}, ${percent(row.high)}]`, "interval"));
      line.append(element("span", change(row.change)));
      made.append(line);
    }
    const left = rows.length - SHOWN_IN_CELL;
    if (left > 0) made.append(element("p", `and ${left} more below `, "interval"));
    const verdicts = [...new Set(rows.map((row) => row.verdict))];
    for (const verdict of verdicts) made.append(element("span", verdict, "chip " + slug(verdict)));
    made.classList.add(slug(verdicts[0]));
    return made;
  }

  function showMatrix() {
    const place = document.getElementById("table-matrix");
    if (!place) return;
    const all = visible(tables.get(page.matrix));
    // Of the models of one name the newest, unless an older one was asked for.
    const newest = all.filter((row) => !row.earlier);
    const rows = newest.length ? newest : all;
    const names = { benchmark: valuesOf(rows, "benchmark"), model: valuesOf(rows, "model") };
    // The longer of the two goes down: a page scrolls that way.
    const [down, across] = names.benchmark.length >= names.model.length ? ["benchmark", "model"] : ["model", "benchmark"];
    const name = (text, scope) => {
      const head = Object.assign(element("th"), { scope, dir: "auto" });
      head.append(breakable(text));
      return head;
    };
    const head = element("tr");
    head.append(name(down === "model" ? "Model" : "Benchmark", "col"), ...names[across].map((text) => name(text, "col")));
    place.tHead.replaceChildren(head);
    place.tBodies[0].replaceChildren(...names[down].map((value) => {
      const line = element("tr");
      const mine = rows.filter((row) => row[down] === value);
      line.append(name(value, "row"));
      line.append(...names[across].map((other) => results(mine.filter((row) => row[across] === other), other)));
      return line;
    }));
    fit(place);
  }

  // ---- no column is cut off: a table that is too wide wraps its cells, then leaves out columns without a value,
  // and then shows each row as a block

  function fit(table) {
    const box = table.closest(".scroll");
    const fits = () => box.scrollWidth <= box.clientWidth;
    table.classList.remove("tight", "bare", "stacked");
    if (fits()) return;
    table.classList.add("tight");
    if (fits()) return;
    table.classList.add("bare");
    if (!fits()) table.classList.replace("tight", "stacked");
  }

  // Texts, or images with the first of their captions, each with its score with the query.
  function shownItems(items) {
    const list = element("ul", undefined, "items");
    for (const item of items) {
      const entry = element("li");
      if (item.image) entry.append(Object.assign(element("img"), { src: item.image, alt: "", loading: "lazy" }));
      const words = element("span", item.text);
      words.dir = "auto";
      entry.append(words);
      if (item.score !== null) entry.append(" ", element("span", item.score.toFixed(3), "interval"));
      list.append(entry);
    }
    return list;
  }

  function spark(values) {
    if (values.length < 2) return element("span", "one run", "none");
    const [width, height, space] = [88, 22, 3];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const at = values.map((value, i) => [
      space + (i / (values.length - 1)) * (width - 2 * space),
      high === low ? height / 2 : height - space - ((value - low) / (high - low)) * (height - 2 * space),
    ]);
    const svg = (name, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return made;
    };
    const [x, y] = at[at.length - 1];
    const label = `${values.length} runs, from ${percent(values[0])} to ${percent(values[values.length - 1])}`;
    const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
    drawn.append(svg("polyline", { points: at.map((point) => point.join()).join(" ") }), svg("circle", { cx: x, cy: y, r: 2.5 }));
    return drawn;
  }

  function showTable(table) {
    const body = document.querySelector(`#table-${table.id} tbody`);
    if (!body) return;
    const rows = sorted(table, visible(table));
    const shown = table.all ? rows : rows.slice(0, SHOWN);
    const columns = table.columns.filter((column) => !page.single.includes(column.key));
    const blank = columns.map((column) => shown.every((row) => (row[column.key] ?? null) === null));
    const heads = body.parentElement.tHead.rows[0].cells;
    blank.forEach((is, i) => heads[i].classList.toggle("blank", is));
    body.replaceChildren(...shown.map((row) => {
      const line = element("tr");
      line.append(...columns.map((column) => cell(row, column)));
      blank.forEach((is, i) => line.cells[i].classList.toggle("blank", is));
      return line;
    }));
    if (!shown.length) {
      const none = Object.assign(element("td", "None that these filters leave.", "nothing"), { colSpan: columns.length });
      const line = element("tr");
      line.append(none);
      body.append(line);
    }
    const left = rows.length - shown.length;
    const count = `${rows.length.toLocaleString("en")} of ${table.rows.length.toLocaleString("en")} rows`;
    const fixed = page.single.filter((key) => table.keys.includes(key)).map((key) => chosen[key]).filter(Boolean);
    const status = [count, ...(left ? [`the first ${SHOWN} shown`] : []), ...fixed].join(" · ");
    document.getElementById(`${table.id}-status`).textContent = status;
    document.querySelector(`[data-more=${table.id}]`).hidden = !left;
    fit(body.parentElement);
  }

  // ---- downloads: all rows that pass the filters, in the order shown; numbers as they were recorded

  function quoted(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const text = Array.isArray(value) ? value.map((part) => part.text ?? part).join(" ") : String(value);
    const isText = !Array.isArray(value) || value.some((part) => part.text !== undefined);
    const safe = /^ *[=+\-@\t\r\n]/.test(text) && isText ? "'" + text : text; // no formula for a spreadsheet
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  function download(table, format) {
    const keys = table.columns.flatMap((column) => [column.key, ...(column.ends ?? [])]);
    const rows = sorted(table, visible(table)).map((row) => keys.map((key) => row[key] ?? null));
    const text = format === "csv"
      ? [keys, ...rows].map((row) => row.map(quoted).join(",") + "\r\n").join("")
      : JSON.stringify(rows.map((row) => Object.fromEntries(keys.map((key, i) => [key, row[i]]))), null, 1) + "\n";
    const type = format === "csv" ? "text/csv;charset=utf-8" : "application/json";
    const address = URL.createObjectURL(new Blob([text], { type }));
    const link = Object.assign(element("a"), { href: address, download: `${page.name}-${table.id}.${format}` });
    link.click();
    URL.revokeObjectURL(address);
  }

  // ---- charts

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const [ink, quiet, rule, bad] = ["--ink", "--quiet", "--rule", "--bad"].map((name) => style.getPropertyValue(name).trim());
    const aria = false; // a chart is one picture with a name; the table below tells its parts
    const axis = { aria, labelColor: quiet, titleColor: quiet, gridColor: rule, domainColor: rule, tickColor: rule };
    const series = style.getPropertyValue("--series").trim().split(/\s+/);
    return {
      background: "transparent",
      font: getComputedStyle(document.body).fontFamily,
      view: { stroke: "transparent" },
      axis,
      title: { color: quiet },
      legend: { aria, labelColor: ink, titleColor: quiet, orient: "bottom", labelLimit: 240, columns: 2, symbolOpacity: 1 },
      rule: { color: ink },
      range: { category: series },
      mark: { aria, color: series[0] },
      style: { fell: { color: bad } }, // of marks that name it
    };
  }

  // Vega sorts names by their letters; noise-200 stands before noise-1000, as in tables.
  function inOrder(part, rows) {
    if (Array.isArray(part)) return part.map((one) => inOrder(one, rows));
    if (part === null || typeof part !== "object") return part;
    const unscaled = ["detail", "tooltip"]; // they have no order
    const made = Object.entries(part).map(([name, value]) => [name, unscaled.includes(name) ? value : inOrder(value, rows)]);
    if (part.type === "nominal" && !("sort" in part)) made.push(["sort", valuesOf(rows, part.field).sort(order.compare)]);
    return Object.fromEntries(made);
  }

  async function showCharts() {
    const mine = ++drawing;
    const datasets = Object.fromEntries([...tables.values()].map((table) => [table.id, visible(table)]));
    for (const chart of page.charts) {
      const place = document.getElementById(`chart-${chart.id}`);
      const options = {
        mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false,
        logLevel: vega.Error, // a layer without rows, as intervals of means are, is no fault
        tooltip: { disableDefaultStyle: true, theme: "custom" }, config: theme(),
      };
      const spec = { ...inOrder(chart.spec, Object.values(datasets).flat()), datasets };
      const result = await vegaEmbed(place, spec, options);
      if (mine !== drawing) return result.finalize();
      views.get(chart.id)?.finalize();
      views.set(chart.id, result);
    }
  }

  function show() {
    offer();
    writeState();
    showMatrix();
    for (const table of tables.values()) showTable(table);
    return showCharts();
  }

  // ---- what people do

  form?.addEventListener("change", (event) => {
    state[event.target.name] = event.target.value;
    show();
  });
  form?.addEventListener("reset", (event) => {
    event.preventDefault();
    state = state.sort ? { sort: state.sort } : {};
    show();
  });
  window.addEventListener("hashchange", () => {
    state = readState();
    show();
  });
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target.closest("button, a.skip") : null;
    if (!target) return;
    if (target.matches(".skip")) { // without touching the fragment, which is the state
      event.preventDefault();
      document.getElementById("main").focus();
    } else if (target.dataset.download) {
      download(tables.get(target.dataset.table), target.dataset.download);
    } else if (target.dataset.more) {
      const table = tables.get(target.dataset.more);
      table.all = true;
      showTable(table);
    } else if (target.closest("th")) {
      const head = target.closest("th");
      const way = head.getAttribute("aria-sort") === "ascending" ? "desc" : "asc";
      state.sort = `${head.closest("table").id.slice("table-".length)}.${head.dataset.key}.${way}`;
      writeState();
      for (const table of tables.values()) showTable(table);
    }
  });
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (entry.contentRect.width === width) return; // a table that wraps changes the height only
    width = entry.contentRect.width;
    for (const table of document.querySelectorAll(".scroll table")) fit(table);
  }).observe(document.getElementById("main"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showCharts);
  show().then(() => { document.documentElement.dataset.ready = "true"; });
})();
