"use strict";

// Without this script every table is a table, and every link to a number's evidence unfolds it further down.

const status = document.querySelector("[role=status]");
const dialog = document.querySelector("dialog");
const order = new Map();  // table -> its rows as they came, each with its part of the table

for (const head of document.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
}

// The first click puts the best on top, the second the worst, the third restores the order of the paper.
function sort(head) {
  const table = head.closest("table");
  if (!order.has(table)) {
    const rows = [...table.querySelectorAll("tbody tr:not(.group)")];
    order.set(table, rows.map((row) => ({ row, body: row.parentNode })));
  }
  const first = head.dataset.sort;
  const second = first === "ascending" ? "descending" : "ascending";
  const now = head.getAttribute("aria-sort");
  const next = now === null ? first : now === first ? second : null;
  for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  const original = order.get(table);
  table.classList.toggle("sorted", next !== null);
  if (next === null) {
    for (const { row, body } of original) body.append(row);
    status.textContent = "Original order";
    return;
  }
  head.setAttribute("aria-sort", next);
  const sign = next === "ascending" ? 1 : -1;
  const place = column(table, head);
  const keyed = original.map(({ row }) => ({ row, key: key(row.cells[place]) }));
  keyed.sort((a, b) => compare(a.key, b.key, sign));  // stable
  const body = original[0].body;
  for (const { row } of keyed) body.append(row);
  status.textContent = `Sorted by ${head.textContent.trim()}, ${next}`;
}

// Heads are in one line or in two, the first of which spans both.
function column(table, head) {
  const lines = table.tHead.rows;
  return lines.length === 1 || head.rowSpan > 1 ? head.cellIndex : head.cellIndex + 1;
}

function key(cell) {
  if (cell.closest("table").classList.contains("results") && cell.tagName === "TD") {
    return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  }
  const text = cell.textContent.trim();
  return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);  // what is missing comes last either way
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (a < b ? -1 : a > b ? 1 : 0);
}

function show(link) {
  const content = document.getElementById(decodeURIComponent(link.hash.slice(1)));
  dialog.querySelector("h3").textContent = content.dataset.title;
  dialog.querySelector("div").replaceChildren(...content.cloneNode(true).childNodes);
  dialog.showModal();
  dialog.scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const head = event.target.closest("th[data-sort] button");
  if (head) return sort(head.parentNode);
  const link = event.target.closest("a.evidence");
  if (link && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) {
    event.preventDefault();
    return show(link);
  }
  if (event.target === dialog || event.target.closest("dialog header button")) dialog.close();
});
