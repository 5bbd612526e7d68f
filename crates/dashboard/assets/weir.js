// Conveniences. Every page works without them.

for (const button of document.querySelectorAll("[data-copy]")) {
  const from = document.getElementById(button.dataset.copy);
  if (!from || !navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "Copied";
  });
}

// Times as this reader's clock has them, beside those of the service.
for (const time of document.querySelectorAll("time[data-local]")) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) continue;
  const here = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  time.textContent += ` = ${here} here`;
}

// `g` and a letter goes to a page, `/` to the first field, unless that is switched off.
let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (!("keys" in document.body.dataset)) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  if (isGoing) {
    isGoing = false;
    const way = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (way) way.click();
    return;
  }
  isGoing = event.key === "g";
  if (event.key === "/") {
    const field = document.querySelector("main input:not([type=hidden])");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});
