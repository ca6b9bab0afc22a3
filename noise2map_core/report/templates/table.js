"use strict";
// A table whose columns sort by the buttons of its header, and that can be saved as CSV. A cell's
// data-value, where it has one, is what it is sorted by and saved as; else its text is.

function valueOf(cell) {
  return cell.dataset.value ?? cell.textContent.trim();
}

function sortable(table, download, file) {
  if (!table) return;
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, at));
  });
  download.hidden = false;
  download.addEventListener("click", () => save(csvOf(table), file));
}

function sortBy(table, at) {
  const heads = [...table.tHead.rows[0].cells];
  const falls = heads[at].getAttribute("aria-sort") === "ascending";
  for (const head of heads) head.setAttribute("aria-sort", "none");
  heads[at].setAttribute("aria-sort", falls ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[at]), row]);
  const told = rows.filter(([value]) => value !== "");
  const numbers = told.every(([value]) => Number.isFinite(asNumber(value)));
  const compare = numbers
    ? ([one], [other]) => asNumber(one) - asNumber(other)
    : ([one], [other]) => one.localeCompare(other, "en", { numeric: true });
  told.sort(compare);
  if (falls) told.reverse();
  const empty = rows.filter(([value]) => value === ""); // last, whichever way
  table.tBodies[0].append(...[...told, ...empty].map(([, row]) => row));
}

function asNumber(text) {
  return Number(text.replaceAll(",", ""));
}

function csvOf(table) {
  const rows = [table.tHead.rows[0], ...table.tBodies[0].rows];
  return rows.map((row) => [...row.cells].map((cell) => csvCell(valueOf(cell))).join(",") + "\r\n").join("");
}

// As RFC 4180 has it. What a spreadsheet would take for a formula gets an apostrophe.
function csvCell(text) {
  const plain = /^[=+@\t\r]|^-(?![\d.])/.test(text) ? "'" + text : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

function save(text, file) {
  const link = document.createElement("a");
  // The mark tells spreadsheets that this is UTF-8.
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  link.download = file;
  link.click();
  URL.revokeObjectURL(link.href);
}
