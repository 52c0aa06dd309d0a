"use strict";

// The theme: the system's, until the button is pressed.
const themeButton = document.getElementById("theme");
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemIsDark.matches;
}

function nameTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
}

themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
systemIsDark.addEventListener("change", nameTheme);
themeButton.hidden = false;
nameTheme();

// The code: pieces of the same phase light up together. A click keeps them lit.
const phases = JSON.parse(document.getElementById("phase-data").textContent);
const pieces = [...document.querySelectorAll(".piece")];
const note = document.getElementById("note");
let pinned = null;
let pointer = {};
addEventListener("mousemove", (event) => { pointer = event; });

function light(phase, origin) {
  for (const piece of pieces) piece.classList.toggle("lit", piece.dataset.phase === phase);
  if (!phase) return;
  const about = phases[phase];
  const { manual, trainer } = about.lines;
  note.replaceChildren(
    element("b", phase), `: ${about.does}. By hand ${manual} line${manual === 1 ? "" : "s"} of code, `,
    `on the Trainer page ${trainer}. Bought with: `, element("code", about.bought),
    ...(about.trainer ? [". Inside Trainer: ", element("code", about.trainer)] : []), ".",
  );
  showTwin(phase, origin);
}

// Scroll the other page, and only it, so that a twin is in sight.
function showTwin(phase, origin) {
  const pane = origin.closest(".pane");
  const other = [...document.querySelectorAll(".pane")].find((each) => each !== pane);
  const twins = pieces.filter((piece) => piece.dataset.phase === phase && other.contains(piece));
  const inSight = (piece) =>
    piece.offsetTop >= other.scrollTop && piece.offsetTop + 40 <= other.scrollTop + other.clientHeight;
  if (twins.length && !twins.some(inSight)) other.scrollTop = twins[0].offsetTop - 60;
}

for (const piece of pieces) {
  const button = piece.querySelector("button");
  const phase = piece.dataset.phase;
  // A pointer that rests while the page scrolls under it does not point at anything.
  piece.addEventListener("mousemove", (event) => {
    const rests = event.clientX === pointer.clientX && event.clientY === pointer.clientY;
    if (!rests && !pinned && !piece.classList.contains("lit")) light(phase, piece);
  });
  button.addEventListener("focus", () => pinned || light(phase, piece));
  button.addEventListener("click", () => {
    pinned = pinned === phase ? null : phase;
    for (const each of pieces) {
      each.querySelector("button").setAttribute("aria-pressed", String(each.dataset.phase === pinned));
    }
    light(phase, piece);
  });
}

// A link to a line of the code lights its piece up.
function followLink() {
  const line = document.getElementById(location.hash.slice(1));
  const piece = line && line.closest(".piece");
  if (piece) light(piece.dataset.phase, piece);
}
addEventListener("hashchange", followLink);
followLink();

// The steps: kept column by column, shown a page at a time.
const data = JSON.parse(document.getElementById("step-data").textContent);
const PAGE = 50;
const table = document.getElementById("step-table");
const query = document.getElementById("query");
const onlyDiffering = document.getElementById("only-differing");
const more = document.getElementById("more");
const texts = data.texts.map((text) => text.toLowerCase());
let found = [];
let shown = 0;
// A table of very many steps has some of them only.
const stepOf = (row) => (data.steps === null ? row + 1 : data.steps[row]);

function element(name, text, properties = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  return Object.assign(made, properties);
}

function search() {
  const words = query.value.trim().toLowerCase();
  const wanted = /^\d+$/.test(words) ? Number(words) : null;
  const matching = new Set();
  if (words && wanted === null) texts.forEach((text, place) => text.includes(words) && matching.add(place));
  const holds = (reviews) => reviews !== null && reviews.some((place) => matching.has(place));
  found = [];
  for (let row = 0; row < data.columns.epoch.length; row++) {
    if (onlyDiffering.checked && !(stepOf(row) in data.differs)) continue;
    const isFound = wanted !== null ? stepOf(row) === wanted
      : !words || holds(data.reviews[row]) || (data.trainer_reviews !== null && holds(data.trainer_reviews[row]));
    if (isFound) found.push(row);
  }
  const count = data.count.toLocaleString("en");
  document.getElementById("count").textContent = `${found.length.toLocaleString("en")} of ${count} steps`;
  table.tBodies[0].replaceChildren();
  shown = 0;
  showMore();
}

function showMore() {
  const rows = found.slice(shown, shown + PAGE);
  table.tBodies[0].append(...rows.map(rowOf));
  shown += rows.length;
  more.hidden = shown >= found.length;
}

function rowOf(row) {
  const made = document.createElement("tr");
  const button = element("button", String(stepOf(row)), { type: "button", className: "open" });
  button.setAttribute("aria-expanded", "false");
  button.setAttribute("aria-label", `Step ${stepOf(row)}: show its reviews`);
  button.addEventListener("click", () => toggleReviews(made, button, row));
  const head = element("th", "", { scope: "row" });
  head.append(button);
  const { tokens, padded_tokens: padded } = data.columns;
  const padding = padded[row] ? `${(100 * (1 - tokens[row] / padded[row])).toFixed(1)} %` : "–";
  const difference = data.differs[stepOf(row)];
  made.append(
    head, element("td", data.columns.epoch[row]),
    ...["loss", "grad_norm", "learning_rate", "samples", "tokens"].map((name) => numbers(name, row)),
    element("td", padding), element("td", data.columns.seconds_manual[row] ?? "–"),
    element("td", data.columns.seconds_trainer[row] ?? "–"),
    difference ? element("td", `${difference.replaceAll("_", " ")} differs`, { className: "wrong" })
      : element("td", "equal", { className: "exact" }),
  );
  return made;
}

// All digits that tell one float64 from the next.
function exact(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" && value !== 0 && Math.abs(value) < 0.001 ? value.toExponential() : String(value);
}

// A number, and Trainer's below it where that is another.
function numbers(name, row) {
  const cell = element("td", exact(data.columns[name][row]));
  const theirs = data.trainer[name] ? data.trainer[name][row] : data.columns[name][row];
  if (theirs !== data.columns[name][row]) {
    cell.append(document.createElement("br"), element("span", `Trainer ${exact(theirs)}`, { className: "wrong" }));
  }
  return cell;
}

function toggleReviews(rowElement, button, row) {
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  if (isOpen) {
    rowElement.nextElementSibling.remove();
    return;
  }
  const made = document.createElement("tr");
  const cell = element("td", "", { colSpan: 11, className: "reviews" });
  const ours = data.reviews[row];
  const theirs = data.trainer_reviews === null ? ours : data.trainer_reviews[row];
  if (String(ours) === String(theirs)) cell.append(...listOf("Both loops learned from", ours));
  else cell.append(...listOf("By hand", ours), ...listOf("Trainer", theirs));
  made.append(cell);
  rowElement.after(made);
}

function listOf(title, reviews) {
  if (reviews === null) return [element("p", `${title}: no such step.`)];
  if (!reviews.length || !data.texts.length) return [element("p", `${title}: ${data.note || "no reviews are known."}`)];
  const list = document.createElement("ol");
  for (const place of reviews) {
    const item = document.createElement("li");
    if (place < 0) item.textContent = "a review that is not in the slice";
    else {
      const about = `review ${data.places === null ? place : data.places[place]} of the slice, label ${data.labels[place]}`;
      item.append(element("span", about, { className: "place" }), element("q", data.texts[place]));
    }
    list.append(item);
  }
  return [element("p", `${title}:`), list];
}

document.getElementById("no-script").hidden = true;
document.getElementById("filter").hidden = false;
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
table.hidden = false;
query.addEventListener("input", search);
onlyDiffering.addEventListener("change", search);
more.addEventListener("click", showMore);
search();
