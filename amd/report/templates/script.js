// A click on a column's head sorts its table by it; a second one turns the order round.
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
    const rising = head.getAttribute("aria-sort") !== "ascending";
    const value = (row) => row.cells[head.cellIndex].textContent.trim();
    const compare = (a, b) => a.localeCompare(b, undefined, { numeric: head.classList.contains("name") });
    const numeric = head.classList.contains("number");
    const number = (row) => { const found = parseFloat(value(row)); return isNaN(found) ? Infinity : found; };
    const rows = [...body.rows].sort((a, b) => numeric ? number(a) - number(b) : compare(value(a), value(b)));
    body.append(...(rising ? rows : rows.reverse()));
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  });
}

// A click on a picture, or Enter, shows it as large as the window; another one closes it.
const large = document.querySelector("#large"), shown = large.insertBefore(new Image(), large.firstChild);
large.addEventListener("click", () => large.close());
for (const picture of document.querySelectorAll("figure img")) {
  const open = () => {
    Object.assign(shown, { src: picture.src, alt: picture.alt });
    large.querySelector("p").textContent = picture.alt;
    large.showModal();
  };
  picture.tabIndex = 0;
  picture.setAttribute("role", "button");
  picture.addEventListener("click", open);
  picture.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
}
