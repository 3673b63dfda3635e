"use strict";
(() => {
  const FIRST = 200;
  for (const time of document.querySelectorAll("time[data-ms]")) {
    const date = new Date(Number(time.dataset.ms));
    if (!isNaN(date)) { time.dateTime = date.toISOString(); time.textContent = date.toLocaleString(); }
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const section = table.closest("section"), body = table.tBodies[0];
    const search = section.querySelector("input"), output = section.querySelector("output");
    const more = section.querySelector(".more");
    let rows = Array.from(body.rows, row => ({
      row, text: row.textContent.toLowerCase(),
      keys: Array.from(row.cells, cell => "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.toLowerCase()),
    }));
    let all = false;
    const show = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = rows.filter(({ text }) => words.every(word => text.includes(word)));
      const shown = all ? found : found.slice(0, FIRST);
      body.replaceChildren(...shown.map(({ row }) => row));
      more.hidden = shown.length === found.length;
      more.textContent = `Show all ${found.length}`;
      const hidden = shown.length === found.length ? "" : `, the first ${shown.length} are shown`;
      output.textContent = shown.length === rows.length ? "" : `${found.length} of ${rows.length}${hidden}`;
    };
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const number = rows.length > 0 && typeof rows[0].keys[column] === "number";
        const now = head.getAttribute("aria-sort");
        const down = now ? now === "ascending" : number;
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const order = down ? -1 : 1;
        rows.sort((a, b) => {
          const [x, y] = [a.keys[column], b.keys[column]];
          return order * (typeof x === "number" ? x - y : x.localeCompare(y));
        });
        show();
      });
    });
    search.addEventListener("input", show);
    more.addEventListener("click", () => { all = true; show(); });
    section.querySelector(".tools").hidden = false;
    show();
  }
})();
