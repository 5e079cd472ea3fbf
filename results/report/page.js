// Plots the page's charts when they scroll into view, sorts its tables, and follows the reader's
// choice of light, dark and print. It loads nothing.
"use strict";
(() => {
  const root = document.documentElement;
  const plots = [...document.querySelectorAll(".plot")];
  // The toolbar appears under a mouse alone: on a touch screen it would cover the legend, and
  // dragging a finger scrolls the page.
  const hovers = matchMedia("(hover: hover) and (pointer: fine)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: hovers ? "hover" : false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const narrow = () => window.innerWidth < 480;

  // Figures name their colours "@name"; the style sheet's variable of that name is the colour now.
  const painted = (value, styles) => {
    if (typeof value === "string") {
      return value.startsWith("@") ? styles.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => painted(item, styles));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, styles)]));
  };

  const budgetOf = (plot) => {
    const list = plot.closest("section").querySelector("select.budget");
    return list ? Number(list.value) : null;
  };

  const render = (plot) => {
    plot.figure ??= JSON.parse(plot.querySelector("script").textContent);
    const figure = painted(plot.figure, getComputedStyle(root));
    const budget = budgetOf(plot);
    for (const trace of figure.data) {
      const isOfBudget = trace.meta && "budget" in trace.meta;
      if (isOfBudget && budget !== null) trace.visible = trace.meta.budget === budget;
    }
    figure.layout.modebar = { orientation: "v", bgcolor: "rgba(0,0,0,0)" };
    if (!hovers) figure.layout.dragmode = false;
    if (narrow()) {
      figure.layout.margin = { ...figure.layout.margin, l: 44, r: 6 };
      for (const [name, axis] of Object.entries(figure.layout.meta?.narrow ?? {})) {
        Object.assign(figure.layout[name], axis);
      }
    }
    if (!plot.target) {
      plot.target = plot.appendChild(document.createElement("div"));
      plot.target.style.height = figure.layout.height + "px";
    }
    return Plotly.react(plot.target, figure.data, figure.layout, config);
  };
  const renderAgain = () => plots.filter((plot) => plot.target).forEach(render);

  const seen = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      seen.unobserve(entry.target);
      render(entry.target);
    }),
    { rootMargin: "400px" },
  );
  plots.forEach((plot) => seen.observe(plot));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renderAgain);
  // On paper everything is unfolded.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    root.classList.add("printing");
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((part) => (part.open = true));
    plots.forEach(render);
  });
  window.addEventListener("afterprint", () => {
    root.classList.remove("printing");
    folded.forEach((part) => (part.open = false));
    renderAgain();
  });
  document.querySelectorAll("select.budget").forEach((list) =>
    list.addEventListener("change", () =>
      list.closest("section").querySelectorAll(".plot").forEach((plot) => plot.target && render(plot))));

  // Compare numbers by value and other cells as text.
  const compare = (one, other) => {
    const [a, b] = [Number(one), Number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
  };
  const sort = (header) => {
    const table = header.closest("table");
    const column = header.cellIndex;
    const descends = header.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descends ? "descending" : "ascending");
    const cell = (row) => row.cells[column].textContent.trim();
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => {
      const [a, b] = [cell(one), cell(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return descends ? compare(b, a) : compare(a, b);
    });
    table.tBodies[0].append(...rows);
  };
  // Long tables display their first rows, in whatever order, and the others on request; the rows
  // that the others are compared with are always there.
  const MOST_ROWS = 10;
  const shorten = (table) => {
    const isShort = !table.classList.contains("whole");
    [...table.tBodies[0].rows].forEach((row, number) => {
      row.hidden = isShort && number >= MOST_ROWS && !row.className;
    });
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("th button").forEach((button) =>
      button.addEventListener("click", () => {
        sort(button.closest("th"));
        shorten(table);
      }));
    const number = table.tBodies[0].rows.length;
    if (number <= MOST_ROWS) return;
    shorten(table);
    const more = document.createElement("button");
    more.type = "button";
    more.className = "show-all";
    more.textContent = `Display all ${number} rows`;
    more.addEventListener("click", () => {
      table.classList.add("whole");
      shorten(table);
      more.remove();
    });
    (table.closest(".scroll") ?? table).after(more);
  });
})();
