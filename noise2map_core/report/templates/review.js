"use strict";
// Verdicts by mouse or keys. They are kept by the browser until they are saved as a file, which
// noise2map review --apply takes. Texts come from the page as text, never as HTML.

const find = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll("article")];
const KEY = JSON.parse(find("data").textContent).key;
const VERDICTS = { c: "confirmed", r: "rejected", u: "unsure", x: "" };
let unsaved = false;

const reasonOf = (card) => card.querySelector(".reason");
const shown = () => cards.filter((card) => !card.classList.contains("hidden-by-filter"));

// --- what the browser keeps ------------------------------------------------------------------------

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return {}; // storage is off, or holds something else: the page works without
  }
}

function keep() {
  const state = {};
  for (const card of cards) {
    if (card.dataset.touched) state[card.dataset.object] = stated(card);
  }
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    // as above
  }
}

function stated(card) {
  const verdict = card.dataset.verdict;
  return {
    object_id: card.dataset.object,
    verdict,
    reject_reason: verdict === "rejected" ? reasonOf(card).value.trim() : "",
    reviewer: card.dataset.reviewer,
  };
}

function restore() {
  const state = kept();
  for (const card of cards) {
    const was = state[card.dataset.object];
    if (!was) continue;
    reasonOf(card).value = was.reject_reason;
    card.dataset.reviewer = was.reviewer;
    judge(card, was.verdict);
  }
}

// --- verdicts --------------------------------------------------------------------------------------

function judge(card, verdict) {
  card.dataset.verdict = verdict;
  card.dataset.touched = "yes";
  for (const box of card.querySelectorAll("input[type=radio]")) box.checked = box.value === verdict;
  reasonOf(card).required = verdict === "rejected";
  showCount();
}

function judgedBy(card, verdict) {
  card.dataset.reviewer = find("reviewer").value.trim();
  judge(card, verdict);
  unsaved = true;
  keep();
  if (verdict === "rejected" && !reasonOf(card).value) reasonOf(card).focus();
}

function showCount() {
  const judged = cards.filter((card) => card.dataset.verdict).length;
  find("count").textContent = `${judged} of ${cards.length} judged`;
}

function save() {
  const lacking = cards.find(
    (card) => card.dataset.touched && card.dataset.verdict === "rejected" && !reasonOf(card).value.trim(),
  );
  if (lacking) {
    go(lacking);
    reasonOf(lacking).focus();
    find("count").textContent = "a rejected alert needs a reason";
    return;
  }
  const features = cards
    .filter((card) => card.dataset.touched)
    .map((card) => ({ type: "Feature", geometry: null, properties: stated(card) }));
  const text = JSON.stringify({ type: "FeatureCollection", features }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/geo+json" }));
  link.download = "verdicts.geojson";
  link.click();
  URL.revokeObjectURL(link.href);
  unsaved = false;
}

// --- moving about ----------------------------------------------------------------------------------

function current() {
  return document.activeElement.closest("article");
}

function go(card) {
  if (!card) return;
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start" });
}

function step(by) {
  const list = shown(), at = list.indexOf(current());
  go(list[at < 0 ? 0 : Math.max(0, Math.min(list.length - 1, at + by))]);
}

function filter() {
  const only = find("only-open").checked;
  for (const card of cards) {
    card.classList.toggle("hidden-by-filter", only && card.dataset.verdict !== "" && card !== current());
  }
}

function blink(card) {
  if (!card.classList.contains("blink")) card.classList.add("blink");
  card.classList.toggle("earlier");
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target.matches("input:not([type=radio]):not([type=checkbox])");
  if (writing) {
    if (event.key === "Enter" || event.key === "Escape") go(event.target.closest("article"));
    return;
  }
  const card = current();
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "s") save();
  else if (event.key === "o") find("outlines").click();
  else if (card && event.key === "b") blink(card);
  else if (card && event.key in VERDICTS) judgedBy(card, VERDICTS[event.key]);
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", onKey);
find("save").addEventListener("click", save);
find("only-open").addEventListener("change", filter);
find("outlines").addEventListener("change", (event) => {
  document.body.classList.toggle("plain", !event.target.checked);
});
for (const card of cards) {
  card.addEventListener("change", (event) => {
    if (event.target.type === "radio") judgedBy(card, event.target.value);
    else if (event.target === reasonOf(card) && card.dataset.verdict) judgedBy(card, card.dataset.verdict);
  });
}
window.addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});
restore();
showCount();
