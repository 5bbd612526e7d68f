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

// A password can be looked at while it is typed.
for (const field of document.querySelectorAll("input[type=password]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  const show = (isShown) => {
    field.type = isShown ? "text" : "password";
    button.textContent = isShown ? "Hide" : "Show";
    button.setAttribute("aria-label", `${button.textContent} the password`);
  };
  show(false);
  button.addEventListener("click", () => show(field.type === "password"));
  // A browser remembers what was typed into other fields.
  field.form?.addEventListener("submit", () => show(false));
  field.after(button);
}

/** The keys of this page, in a dialog that Esc closes. */
function showKeys() {
  const dialog = document.createElement("dialog");
  const title = document.createElement("h2");
  title.textContent = "Keys";
  const list = document.createElement("dl");
  const ways = [...document.querySelectorAll("[data-go]")].map((way) => [`g ${way.dataset.go}`, way.textContent]);
  for (const [key, what] of [...ways, ["/", "The first field"], ["?", "This list"], ["Esc", "Close it"]]) {
    const term = document.createElement("dt");
    const kbd = document.createElement("kbd");
    kbd.textContent = key;
    term.append(kbd);
    const told = document.createElement("dd");
    told.textContent = what;
    list.append(term, told);
  }
  const close = document.createElement("button");
  close.textContent = "Close";
  close.addEventListener("click", () => dialog.close());
  dialog.append(title, list, close);
  dialog.setAttribute("aria-label", "Keys");
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// `g` and a letter goes to a page, `/` to the first field, `?` tells them, unless that is switched off.
let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (!("keys" in document.body.dataset)) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  if (isGoing) {
    isGoing = false;
    const way = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (way) way.click();
    return;
  }
  isGoing = event.key === "g";
  if (event.key === "?") showKeys();
  if (event.key === "/") {
    const field = document.querySelector("main input:not([type=hidden])");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});
