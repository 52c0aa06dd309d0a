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

// The code: a row opens on request, and its question is answered before the measured answer is shown.
for (const opener of document.querySelectorAll(".opener")) {
  const panel = document.getElementById(opener.getAttribute("aria-controls"));
  const show = (open) => {
    opener.setAttribute("aria-expanded", String(open));
    panel.classList.toggle("closed", !open);
  };
  show(false);
  opener.addEventListener("click", () => show(opener.getAttribute("aria-expanded") !== "true"));
}

for (const question of document.querySelectorAll(".question")) {
  const measured = question.parentElement.querySelector(".measured");
  measured.classList.add("unseen");
  question.addEventListener("change", (event) => {
    const { answer } = question.dataset;
    const isRight = event.target.value === answer;
    const feedback = question.querySelector(".feedback");
    feedback.className = `feedback ${isRight ? "exact" : "wrong"}`;
    const sentence = answer === "nothing" ? "nothing differs" : `it is the ${answer}`;
    feedback.textContent = isRight ? `Right: ${sentence}.` : `Wrong: ${sentence}.`;
    measured.classList.remove("unseen");
  });
}

// A link to a row of the code opens it.
function followLink() {
  const row = document.getElementById(location.hash.slice(1));
  const opener = row && row.matches(".row") && row.querySelector(".opener");
  if (opener && opener.getAttribute("aria-expanded") !== "true") opener.click();
}
addEventListener("hashchange", followLink);
followLink();

// Code that is wider than its place scrolls, so it must be reachable with the keyboard.
function reachWideCode() {
  for (const code of document.querySelectorAll(".code-rows pre, .command, .setting-costs pre")) {
    if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
    else code.removeAttribute("tabindex");
  }
}
addEventListener("resize", reachWideCode);

// The steps: kept column by column, shown a page at a time.
const data = JSON.parse(document.getElementById("step-data").textContent);
const PAGE = 50;
const table = document.getElementById("step-table");
const query = document.getElementById("query");
const onlyDiffering = document.getElementById("only-differing");
const more = document.getElementById("more");
const texts = data.texts.map((text) => text.toLowerCase());
let foundRows = [];
let shownCount = 0;
// A table of very many steps has only some of them.
const stepOf = (row) => (data.steps === null ? row + 1 : data.steps[row]);

function element(name, text, properties = {}) {
  const node = document.createElement(name);
  node.textContent = text;
  return Object.assign(node, properties);
}

function search() {
  const words = query.value.trim().toLowerCase();
  const wantedStep = /^\d+$/.test(words) ? Number(words) : null;
  const matching = new Set();
  if (words && wantedStep === null) texts.forEach((text, place) => text.includes(words) && matching.add(place));
  const holds = (reviews) => reviews !== null && reviews.some((place) => matching.has(place));
  foundRows = [];
  for (let row = 0; row < data.columns.epoch.length; row++) {
    if (onlyDiffering.checked && !(stepOf(row) in data.differs)) continue;
    const isFound = wantedStep !== null ? stepOf(row) === wantedStep
      : !words || holds(data.reviews[row]) || (data.trainer_reviews !== null && holds(data.trainer_reviews[row]));
    if (isFound) foundRows.push(row);
  }
  const count = data.count.toLocaleString("en");
  document.getElementById("count").textContent = `${foundRows.length.toLocaleString("en")} of ${count} steps`;
  table.tBodies[0].replaceChildren();
  shownCount = 0;
  showMore();
}

function showMore() {
  const rows = foundRows.slice(shownCount, shownCount + PAGE);
  table.tBodies[0].append(...rows.map(rowOf));
  shownCount += rows.length;
  more.hidden = shownCount >= foundRows.length;
}

function rowOf(row) {
  const tableRow = document.createElement("tr");
  const head = element("th", "", { scope: "row" });
  if (!data.is_own_job) {
    const button = element("button", String(stepOf(row)), { type: "button", className: "open" });
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `Step ${stepOf(row)}: show its examples`);
    button.addEventListener("click", () => toggleReviews(tableRow, button, row));
    head.append(button);
  } else head.textContent = stepOf(row);  // a user's own job keeps no texts to read
  const { tokens, padded_tokens: padded } = data.columns;
  const padding = padded[row] ? `${(100 * (1 - tokens[row] / padded[row])).toFixed(1)} %` : "–";
  const difference = data.differs[stepOf(row)];
  tableRow.append(
    head,
    difference ? element("td", `${difference.replaceAll("_", " ")} differs`, { className: "wrong" })
      : element("td", "equal", { className: "exact" }),
    element("td", data.columns.epoch[row]),
    ...["loss", "grad_norm", "learning_rate", "samples"].map((name) => numbers(name, row)),
    ...(data.has_tokens ? [numbers("tokens", row), element("td", padding)] : []),
    element("td", data.columns.seconds_manual[row] ?? "–"),
    element("td", data.columns.seconds_trainer[row] ?? "–"),
  );
  return tableRow;
}

// All digits that distinguish one float64 from the next.
function exact(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" && value !== 0 && Math.abs(value) < 0.001 ? value.toExponential() : String(value);
}

// A number, and the other side's below it if it differs.
function numbers(name, row) {
  const cell = element("td", exact(data.columns[name][row]));
  const theirs = data.trainer[name] ? data.trainer[name][row] : data.columns[name][row];
  if (theirs !== data.columns[name][row]) {
    cell.append(document.createElement("br"), element("span", `${data.sides[1]} ${exact(theirs)}`, { className: "wrong" }));
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
  const reviewRow = document.createElement("tr");
  const cell = element("td", "", { colSpan: 11, className: "reviews" });
  const ours = data.reviews[row];
  const theirs = data.trainer_reviews === null ? ours : data.trainer_reviews[row];
  if (String(ours) === String(theirs)) cell.append(...listOf("Both loops learned from", ours));
  else cell.append(...listOf(data.sides[0], ours), ...listOf(data.sides[1], theirs));
  reviewRow.append(cell);
  rowElement.after(reviewRow);
}

function listOf(title, reviews) {
  if (reviews === null) return [element("p", `${title}: no such step.`)];
  if (!reviews.length || !data.texts.length) return [element("p", `${title}: ${data.note || "no reviews are known."}`)];
  const list = document.createElement("ol");
  for (const place of reviews) {
    const item = document.createElement("li");
    if (place < 0) item.textContent = "a review that is not in the training set";
    else {
      const about = `review ${data.places === null ? place : data.places[place]} of the training set, label ${data.labels[place]}`;
      item.append(element("span", about, { className: "place" }), element("q", data.texts[place]));
    }
    list.append(item);
  }
  return [element("p", `${title}:`), list];
}

// The values of one step next to the lines that compute them.
const stepper = document.getElementById("step");
const outputs = [...document.querySelectorAll(".value")];

// Four digits are enough here; the table of steps has all of them.
function short(value) {
  if (typeof value !== "number") return value ?? "none";
  if (value === 0) return "0";
  return String(Number(value.toPrecision(4)));
}

// The values of both loops where they differ; `isApart` says that one of those shown does.
let isApart = false;
function apart(ours, theirs) {
  isApart = true;
  return `${data.sides[0]} ${ours}, ${data.sides[1]} ${theirs}`;
}

// A value of both loops: once if they agree, else both.
function both(name, row, form = short) {
  const ours = data.columns[name][row];
  const theirs = data.trainer[name] ? data.trainer[name][row] : ours;
  return ours === theirs ? form(ours) : apart(form(ours), form(theirs));
}

function evaluationAfter(row, evaluations) {
  const evaluation = evaluations.find(([step]) => step >= stepOf(row));
  if (!evaluation || data.is_own_job) return evaluation && `loss ${short(evaluation[1])}`;
  return `loss ${short(evaluation[1])}, accuracy ${evaluation[2] === null ? "none" : (100 * evaluation[2]).toFixed(1)} %`;
}

const valueOf = {
  epoch: (row) => `step ${stepOf(row)} of ${data.count}, epoch ${data.columns.epoch[row]}`,
  shuffle: (row) => firstReviews(row),
  batch: (row) => `${both("samples", row)} examples`,
  collator: (row) => data.has_tokens && `${both("tokens", row)} tokens, padded to ${both("padded_tokens", row)}`,
  forward: (row) => `loss ${both("loss", row)}`,
  backward: (row) => `gradient norm ${both("unclipped_norm", row)}`,
  clip: (row) => `norm ${both("unclipped_norm", row)} → ${both("grad_norm", row)}`,
  step: (row) => `learning rate ${both("learning_rate", row)}`,
  "schedule step": (row) => (row + 1 < data.columns.loss.length && data.steps === null
    ? `${both("learning_rate", row)} → ${both("learning_rate", row + 1)}` : `${both("learning_rate", row)} →`),
  evaluate: (row) => {
    const [ours, theirs] = [data.evaluations, data.trainer_evaluations].map((evaluations) => evaluationAfter(row, evaluations));
    if (!ours && !theirs) return "";
    return ours === theirs ? `next: ${ours}` : `next: ${apart(ours ?? "none", theirs ?? "none")}`;
  },
};

function firstReviews(row) {
  const numbers = (places) => places.slice(0, 4).map((place) => (data.places === null ? place : data.places[place]));
  const reviews = data.reviews[row];
  if (!reviews || !reviews.length || !data.texts.length) return "";
  const theirs = data.trainer_reviews === null ? reviews : data.trainer_reviews[row] || [];
  const text = (places) => `${numbers(places).join(", ")}${places.length > 4 ? ", …" : ""}`;
  return text(reviews) === text(theirs) ? `reviews ${text(reviews)}` : `reviews: ${apart(text(reviews), text(theirs))}`;
}

function showStep() {
  const row = Number(stepper.value);
  document.getElementById("step-shown").textContent = `${stepOf(row)} of ${data.count}`;
  stepper.setAttribute("aria-valuetext", `step ${stepOf(row)} of ${data.count}`);
  for (const output of outputs) {
    const make = valueOf[output.dataset.value];
    isApart = false;
    output.textContent = (make && make(row)) || "";
    output.classList.toggle("wrong", isApart);
  }
}

if (stepper && data.columns.loss.length) {
  stepper.max = data.columns.loss.length - 1;
  // The first step that differs; else the first step.
  const first = data.columns.loss.findIndex((_, row) => stepOf(row) in data.differs);
  stepper.value = Math.max(0, first);
  stepper.addEventListener("input", showStep);
  stepper.form.hidden = false;
  stepper.form.addEventListener("submit", (event) => event.preventDefault());
  showStep();
}

document.getElementById("no-script").hidden = true;
document.getElementById("filter").hidden = false;
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
table.hidden = false;
query.addEventListener("input", search);
onlyDiffering.addEventListener("change", search);
more.addEventListener("click", showMore);
search();
reachWideCode();
