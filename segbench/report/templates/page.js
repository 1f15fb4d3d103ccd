// Sorting, filters and copies of the tables. The page is complete without this script.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, fields, parent) => parent.appendChild(Object.assign(document.createElement(tag), fields));
  const tables = all("table.data");
  const heads = (table) => [...table.tHead.rows[0].cells];
  const rows = (table) => [...table.tBodies[0].rows];

  // --- sorting: controls and cells without a value stay last
  const key = (cell) => {
    const words = cell.dataset.v ?? cell.textContent.replace(/\s+/g, " ").trim();
    return cell.classList.contains("n") ? parseFloat(words) : words === "–" ? "" : words.toLowerCase();
  };
  const lacks = (value) => value === "" || Number.isNaN(value);

  function sort(table, column) {
    const head = heads(table)[column];
    const numbers = head.classList.contains("n");
    const before = head.getAttribute("aria-sort");
    const ascending = before ? before === "descending" : !numbers;
    const keyed = rows(table).map((row) => [row, row.classList.contains("control"), key(row.cells[column])]);
    keyed.sort(([, controlA, a], [, controlB, b]) => {
      if (controlA !== controlB) return controlA - controlB;
      if (lacks(a) || lacks(b)) return lacks(a) - lacks(b);
      const order = numbers ? a - b : a.localeCompare(b, "en", { numeric: true });
      return ascending ? order : -order;
    });
    table.tBodies[0].append(...keyed.map(([row]) => row));
    heads(table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }

  // --- what is shown, as rows of words
  const seen = (element) => element.getClientRects().length > 0;
  const words = (cell) => cell.innerText.replace(/\s+/g, " ").trim();

  function content(table) {
    return [table.tHead.rows[0], ...rows(table)].filter(seen).map((row) =>
      [...row.cells].filter(seen).map((cell) => ({
        words: words(cell),
        best: cell.tagName === "TD" && cell.querySelector("strong") !== null,
        number: cell.classList.contains("n"),
      })),
    );
  }

  const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "†": "\\dag{}",
    "±": "$\\pm$", "–": "--", "≤": "$\\leq$" };
  const latex = (text) => text.replace(/[\\~^†±–≤]|[&%$#_{}]/g, (sign) => LATEX[sign] ?? "\\" + sign);
  const formats = {
    CSV: (table) =>
      content(table)
        .map((row) =>
          row
            .map((cell) => (/^[=+@-]/.test(cell.words) && Number.isNaN(Number(cell.words)) ? "'" : "") + cell.words)
            .map((text) => (/[",]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text))
            .join(","),
        )
        .join("\n") + "\n",
    Markdown: (table) => {
      const line = (cells) => "| " + cells.join(" | ") + " |";
      const escaped = (cell) => cell.words.replace(/[\\`*_|[\]<>]/g, "\\$&");
      const [head, ...body] = content(table);
      return [
        line(head.map(escaped)),
        line(head.map((cell) => (cell.number ? "---:" : "---"))),
        ...body.map((row) => line(row.map((cell) => (cell.best ? "**" + escaped(cell) + "**" : escaped(cell))))),
      ].join("\n") + "\n";
    },
    LaTeX: (table) => {
      const [head, ...body] = content(table);
      const line = (row) =>
        row.map((cell) => (cell.best ? "\\textbf{" + latex(cell.words) + "}" : latex(cell.words))).join(" & ") + " \\\\";
      return [
        "\\begin{tabular}{" + head.map((cell) => (cell.number ? "r" : "l")).join("") + "}",
        "\\toprule", line(head), "\\midrule", ...body.map(line), "\\bottomrule", "\\end{tabular}",
      ].join("\n") + "\n";
    },
  };
  const SUFFIX = { CSV: "csv", Markdown: "md", LaTeX: "tex" };

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { value: text }, document.body);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  function download(text, name) {
    const address = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
    make("a", { href: address, download: name }, document.body).click();
    document.body.lastChild.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  for (const table of tables) {
    heads(table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column));
    });
    const box = document.createElement("details");
    box.className = "export";
    make("summary", { textContent: "Copy or download" }, box);
    const bar = make("div", {}, box);
    const caption = table.caption.textContent.trim();
    const status = document.createElement("span");
    status.setAttribute("role", "status");
    for (const [name, write] of Object.entries(formats)) {
      make("button", { type: "button", textContent: "Copy " + name }, bar).addEventListener("click", async () => {
        await copy(write(table));
        status.textContent = "Copied as " + name + ": " + (content(table).length - 1) + " rows.";
      });
      make("button", { type: "button", textContent: "Download " + name }, bar).addEventListener("click", () => {
        download(write(table), caption.replace(/[^\w]+/g, "_").slice(0, 80) + "." + SUFFIX[name]);
      });
    }
    bar.append(status);
    table.parentElement.after(box);
  }

  // --- filters of the whole page
  const form = document.getElementById("filters");

  function filter() {
    const wanted = Object.fromEntries(["network", "dataset", "task", "metric"].map((n) => [n, form.elements[n].value]));
    const names = wanted.network.toLowerCase().split(",").map((name) => name.trim()).filter(Boolean);
    const named = (text) => !names.length || names.some((name) => text.toLowerCase().includes(name));
    const other = ({ dataset }) =>
      (wanted.dataset && dataset.dataset && dataset.dataset !== wanted.dataset) ||
      (wanted.task && dataset.task && dataset.task !== wanted.task);
    all("section, .card, figure, tr", document.querySelector("main")).forEach((box) => {
      const off = other(box) || (box.dataset.network !== undefined && !named(box.dataset.network));
      box.classList.toggle("off", Boolean(off));
    });
    for (const table of tables) {
      if (table.dataset.rows === "network") {
        rows(table).forEach((row) => {
          const control = row.classList.contains("control");
          if (control ? !form.elements.controls.checked : !named(row.cells[0].textContent)) row.classList.add("off");
        });
      }
      const has = heads(table).some((head) => head.dataset.metric === wanted.metric);
      heads(table).forEach((head, column) => {
        if (head.dataset.metric === undefined) return;
        const whole = table.classList.contains("matrix-table");
        const chosen = wanted.metric && (has || whole) ? head.dataset.metric === wanted.metric
          : !whole || head.dataset.primary !== undefined;
        const hidden = !chosen || Boolean(other(head));
        [head, ...rows(table).map((row) => row.cells[column])].forEach((cell) => { cell.hidden = hidden; });
      });
    }
    const first = document.querySelector(".matrix-table");
    const left = first ? rows(first).filter((row) => !row.classList.contains("off")).length : 0;
    form.querySelector("output").textContent = first ? left + " of " + rows(first).length + " rows" : "";
  }

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();

  // --- small things
  all(".thumbs img").forEach((image) => image.addEventListener("click", () =>
    image.closest(".line").querySelector("h4 a").click()));
  all(".wide, .photo, pre").forEach((box) => { if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; });
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("details:not([open]):not(.export)");
    closed.forEach((box) => { box.open = true; });
  });
  window.addEventListener("afterprint", () => closed.forEach((box) => { box.open = false; }));
})();
