"use strict";
// Shows the page's block of data. All words reach the page as text nodes, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const MS_A_STEP = 700;
const VIEWS = data.views;
const NAMES = { all: "all", yes: "judged yes", no: "judged no", corrected: "corrected", relabelled: "relabelled",
  wrong: "wrong" };
const MEANINGS = { all: "every episode on this page", yes: "judged yes in the end", no: "judged no in the end",
  corrected: "judged otherwise in the end than at first", relabelled: "relabelled in hindsight", wrong: "judged other than the simulator knows" };
if (data.critic === "none") {
  NAMES.yes = MEANINGS.yes = "counted as done";
  NAMES.no = MEANINGS.no = "not counted as done";
}

let kind = "all", shown = [], episode = null, step = 0, timer = 0, pictures = {};

function make(tag, properties = {}, ...children) {
  const { className, text, ...attributes } = properties;
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
const LONG = /\S{25}/;
const words = (text) => make("bdi", { text, className: LONG.test(text) ? "long" : "" });
const quoted = (text) => make("span", {}, "“", words(text), "”");
const yesNo = (yes, text = yes ? "yes" : "no") => make("b", { className: yes ? "yes" : "no", text });
const last = () => episode.actions.length;
const title = (one) => one.task.instruction || "(no instruction)";

// The head and the list.

function showHead() {
  at("title").textContent = `${data.run}, round ${data.round}`;
  at("about").textContent = `recipe ${data.recipe} · ${data.world} · seed ${data.seed}`;
  const total = data.totals.all, num = data.episodes.length;
  const { num_shards: shards, num_missing: missing } = data, finished = missing ? "finished " : "";
  let text = num < total ? `${num} of the round’s ${total} ${finished}episodes`
    : total === 1 ? `the round’s only ${finished}episode` : `all ${total} ${finished}episodes of the round`;
  if (data.by_name) text += ", chosen by name";
  else if (data.show !== "all") text += `, of ${data.totals[data.show]} that were ${MEANINGS[data.show]}`;
  else if (num < total) text += data.num_judged ? ", chosen from every kind, the rare ones first" : ", spread over the round";
  const told = [text], { num_waiting: waiting, num_left_out: lost } = data;
  if (missing) told.push(`${missing} of the round’s ${shards} shards ${missing === 1 ? "is" : "are"} not finished`);
  if (!data.has_critic) told.push("A game pays a reward, so there is no critic");
  else if (waiting === total) told.push("The round is not labelled yet");
  else if (waiting) told.push(`${waiting} of the round ${waiting === 1 ? "is" : "are"} not labelled yet`);
  if (lost) told.push(`${lost} of the round ${lost === 1 ? "was" : "were"} left out of learning: it was sealed without their shard`);
  at("count").textContent = told.length > 1 ? `${told.join(". ")}.` : text;
  at("truth-note").hidden = !data.with_truth;
  at("learned").textContent = data.critic === "oracle" ? "This run’s critic is the oracle, which judges by it."
    : "No actor and no critic has learned from it.";
}

function showFilters() {
  if (data.num_judged === 0) return;
  for (const [name, label] of Object.entries(NAMES)) {
    if (name === "wrong" && !data.with_truth) continue;
    const num = data.episodes.filter((one) => one.kinds.includes(name)).length;
    const whole = num < data.totals[name] ? ` of ${data.totals[name]}` : "";
    const button = make("button", { type: "button", "aria-pressed": String(name === kind), text: `${label} ${num}${whole}`,
      title: `${MEANINGS[name]}: ${num} on this page, ${data.totals[name]} in the round`,
      onclick: (event) => { kind = name; showList(); if (!shown.includes(episode)) open(shown[0]); leaveMouse(event); } });
    button.dataset.kind = name;
    button.disabled = num === 0;
    at("filters").append(button);
  }
}

function chips(one) {
  const row = make("span", { className: "chips" }, make("span", { text: one.id }));
  if (one.rewards.length) row.append(make("span", { text: `paid ${one.rewards.reduce((sum, paid) => sum + paid, 0)}` }));
  else if (one.label === null) row.append(make("span", { text: "not judged" }));
  else row.append(yesNo(one.label.verdict));
  if (one.left_out) row.append(make("span", { text: "left out" }));
  if (one.kinds.includes("corrected")) row.append(make("span", { text: "corrected" }));
  if (one.kinds.includes("relabelled")) row.append(make("span", { text: "relabelled" }));
  if (one.kinds.includes("wrong")) row.append(make("b", { className: "doubt", text: "wrong" }));
  return row;
}

function showList() {
  shown = data.episodes.filter((one) => one.kinds.includes(kind));
  for (const button of at("filters").children) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  at("list").replaceChildren(...shown.map((one) => make("li", {}, make("button", {
    type: "button", onclick: (event) => { open(one); leaveMouse(event); } },
    make("span", { className: "name" }, words(title(one))), chips(one)))));
  markList();
}

function markList() {
  [...at("list").children].forEach((item, place) => {
    const button = item.firstChild, current = shown[place] === episode;
    button.setAttribute("aria-current", String(current));
    if (!current) return;
    const box = at("list").getBoundingClientRect(), mine = button.getBoundingClientRect();
    if (mine.top < box.top) at("list").scrollTop += mine.top - box.top;
    if (mine.bottom > box.bottom) at("list").scrollTop += mine.bottom - box.bottom;
    if (at("list").contains(document.activeElement)) button.focus();
  });
}

// After a click with the mouse the keys are for playing; whoever came by keyboard stays where they are.
function leaveMouse(event) {
  if (event.detail > 0) at("episode").focus({ preventScroll: true });
}

// One episode.

function open(one, first = 0) {
  pause();
  episode = one;
  pictures = {};
  for (const [view] of VIEWS) {
    const image = new Image();
    image.onload = () => { if (episode === one) draw(view); };
    image.src = one.strips[view].src;
    pictures[view] = image;
  }
  at("instruction").replaceChildren(words(title(one)));
  const adapter = one.actor.adapter === "none" ? "no adapter" : `adapter ${one.actor.adapter}`;
  const expert = !data.has_critic && one.actor.adapter === "expert";
  const acted = expert ? ["the expert, which is a script"] : [words(one.actor.model), ", ", words(adapter)];
  at("facts").replaceChildren("in ", words(one.scene), " · acted: ", ...acted, make("br"), words(one.id), " · goal: ", words(one.task.goals.join("; ")), " · seed ", one.seed);
  at("slider").max = last();
  showViews();
  showSteps();
  showCritic();
  showTruth();
  markList();
  go(first);
}

function showViews() {
  at("views").replaceChildren(...VIEWS.map(([view, name]) => {
    const { width, height } = episode.strips[view];
    const canvas = make("canvas", { width, height, role: "img", id: view, className: width < 240 ? "small" : "" });
    return make("figure", {}, canvas, make("figcaption", { id: `${view}-caption`, text: name }));
  }));
}

function draw(view) {
  const image = pictures[view], { width, height, columns } = episode.strips[view];
  if (!image.complete || !image.naturalWidth) return;
  const column = step % columns, row = Math.floor(step / columns);
  at(view).getContext("2d").drawImage(image, column * width, row * height, width, height, 0, 0, width, height);
}

function showSteps() {
  const columns = ["step", "the actor said", "read as", "simulator"];
  if (episode.rewards.length) columns.splice(3, 1, "paid");
  if (episode.truth) columns.push("goals hold after");
  at("steps").tHead.replaceChildren(make("tr", {}, ...columns.map((text) => make("th", { scope: "col", text }))));
  const rows = episode.actions.map((action, place) => {
    const taken = episode.rewards.length ? make("span", { text: String(episode.rewards[place]) }) : action.ok ? make("span", { className: "yes", text: "taken" })
      : make("span", { className: "no" }, "refused", ...(action.error ? [": ", words(action.error)] : []));
    const cells = [stepButton(place, place + 1), quoted(action.text),
      action.parsed ? make("span", {}, words(action.parsed)) : make("span", { className: "doubt", text: "unreadable" }), taken];
    const other = { drawn: " drawn, none was named", strayed: " drawn at random, whatever the expert’s advice" }[action.error];
    if (episode.rewards.length && other) cells[2].append(make("span", { className: "doubt", text: other }));
    if (episode.truth) cells.push(yesNo(episode.truth.success_after[place + 1]));
    return make("tr", {}, ...cells.map((cell) => make("td", {}, make("div", { className: "bounded" }, cell))));
  });
  const over = data.has_critic ? "the actor said it is done" : "the game is over";
  const end = episode.ended === "done" ? over : "the limit of steps";
  rows.push(make("tr", {}, make("td", {}, stepButton(last(), "end")),
    make("td", { colspan: String(columns.length - 1), className: "quiet", text: `after the last step: ${end}` })));
  at("steps").tBodies[0].replaceChildren(...rows);
}

function stepButton(place, text) {
  return make("button", { type: "button", text: String(text),
    "aria-label": place < last() ? `Go to step ${place + 1}` : "Go to the end",
    onclick: (event) => { pause(); go(place); leaveMouse(event); } });
}

function go(to) {
  step = Math.min(Math.max(Math.trunc(to) || 0, 0), last());
  const ended = step === last(), action = episode.actions[step];
  const place = ended ? "the end" : `step ${step + 1} of ${last()}`;
  at("slider").value = step;
  at("slider").setAttribute("aria-valuetext", place);
  at("where").textContent = place;
  const told = episode.seen[step];
  at("now").replaceChildren(...(ended ? [] : [make("span", { className: "quiet", text: "The actor says " }), quoted(action.text)]));
  at("told").replaceChildren(...(told ? ["It was told ", quoted(told)] : []));
  const judged = episode.label !== null && episode.label.judged_by.includes(step) && episode.label.exchanges.length > 0;
  for (const [view, name] of VIEWS) {
    const mine = judged && view === "third_person";
    at(view).classList.toggle("judged", mine);
    at(view).setAttribute("aria-label", `${name}, ${place}`);
    at(`${view}-caption`).textContent = mine ? `${name} · judged by this` : name;
    draw(view);
  }
  [...at("steps").tBodies[0].rows].forEach((row, number) => {
    if (number === step) row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
  });
  markScrolling();
  try { history.replaceState(null, "", `#${episode.id}/${step}`); } catch { /* some browsers refuse it to files */ }
}

// A box with more words than it shows can be reached and scrolled by keyboard, and no other.
function markScrolling() {
  for (const box of document.querySelectorAll(".bounded, .wide")) {
    if (box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// What was said of it.

function showCritic() {
  const box = at("critic"), label = episode.label;
  document.querySelector("main").classList.toggle("alone", data.num_judged === 0);
  box.hidden = label === null;
  if (label === null) return;
  const path = make("span", {}, yesNo(label.first));
  if (label.corrected) path.append(", in the end ", yesNo(label.verdict));
  if (!label.tried) path.append(label.first ? ", taken back: the actor never said to do it"
    : ", and the actor never said to do it");
  const unjudged = data.critic === "none";
  const facts = make("dl", {}, ...(unjudged ? [] : [make("dt", { text: "first verdict" }), make("dd", {}, path)]));
  if (label.relabelled) facts.append(make("dt", { text: "relabelled" }), make("dd", {}, quoted(label.relabelled.instruction)));
  const said = label.exchanges.length ? make("ol", { id: "said" }, ...label.exchanges.map(showExchange))
    : make("p", { className: "quiet", text: `Nothing was asked (critic.mode: ${data.critic}).` });
  const outcome = unjudged ? ["Nobody judged it: every episode counts as done."] : ["Is it done? ", yesNo(label.verdict)];
  box.replaceChildren(make("h3", { text: "The critic" }), make("p", { className: "outcome" }, ...outcome), facts, said);
}

function showExchange(one) {
  const jump = one.pictures.length === 1 ? make("button", { type: "button",
    text: one.pictures[0] === last() ? "last picture" : one.pictures[0] === 0 ? "first picture" : `picture ${one.pictures[0] + 1}`,
    title: "Show the picture this was asked of", onclick: (event) => { pause(); go(one.pictures[0]); leaveMouse(event);
      at("views").scrollIntoView({ block: "nearest" }); } })
    : one.pictures.length > 1 ? make("span", { text: `${one.pictures.length} pictures` }) : null;
  const taken = ["yes", "no"].includes(one.taken) ? yesNo(one.taken === "yes") : make("b", {}, words(one.taken));
  const answer = make("p", { className: "said bounded" });
  if (one.said && one.said !== one.taken) answer.append(quoted(one.said), make("span", { className: "quiet", text: " taken as " }));
  answer.append(taken);
  return make("li", {}, make("div", { className: "heading" }, words(one.heading), jump),
    make("p", { className: "asked bounded" }, words(one.asked)), answer);
}

function showTruth() {
  const truth = episode.truth, box = at("truth");
  box.hidden = truth === null;
  if (truth === null) return;
  const success = truth.success_after[truth.success_after.length - 1];
  const facts = make("dl", {}, make("dt", { text: "done at first" }), make("dd", {}, yesNo(truth.success_after[0])),
    make("dt", { text: "done in the end" }), make("dd", {}, yesNo(success)));
  if (episode.label) {
    const right = episode.label.verdict === success;
    facts.append(make("dt", { text: data.critic === "none" ? "to count it is" : "the verdict is" }),
      make("dd", {}, make("b", { className: right ? "yes" : "doubt", text: right ? "right" : "wrong" })));
  }
  if (truth.relabelling_was_right !== null) facts.append(make("dt", { text: "the relabelling is" }),
    make("dd", {}, make("b", { className: truth.relabelling_was_right ? "yes" : "doubt", text: truth.relabelling_was_right ? "right" : "wrong" })));
  facts.append(make("dt", { text: "brought about" }), make("dd", {}, words(truth.achieved.join("; ") || "nothing")));
  box.replaceChildren(make("h3", { text: "The simulator" }), facts);
}

// Playing and keys.

function pause() {
  clearInterval(timer);
  timer = 0;
  at("play").textContent = "Play";
}

function toggle() {
  if (timer) return pause();
  if (step === last()) go(0);
  at("play").textContent = "Pause";
  timer = setInterval(() => { go(step + 1); if (step === last()) pause(); }, MS_A_STEP);
}

const turn = (by) => { pause(); go(step + by); };

function leaf(by) {
  const place = shown.indexOf(episode) + by;
  if (place >= 0 && place < shown.length) open(shown[place]);
}

const KEYS = { ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), ArrowUp: () => leaf(-1), ArrowDown: () => leaf(1),
  k: () => leaf(-1), j: () => leaf(1), " ": toggle };

document.addEventListener("keydown", (event) => {
  const action = KEYS[event.key];
  if (!action || event.ctrlKey || event.altKey || event.metaKey) return;
  const target = event.target;
  if (event.key === " " && target.tagName === "BUTTON") return;
  if (event.key.startsWith("Arrow") && target.matches(".bounded, .wide")) return;
  if (event.key.startsWith("Arrow") && target.id === "slider" && !event.key.match(/Left|Right/)) return;
  event.preventDefault();
  action();
});
at("back").addEventListener("click", (event) => { turn(-1); leaveMouse(event); });
at("forth").addEventListener("click", (event) => { turn(1); leaveMouse(event); });
at("play").addEventListener("click", (event) => { toggle(); leaveMouse(event); });
at("slider").addEventListener("input", () => { pause(); go(Number(at("slider").value)); });
at("slider").addEventListener("pointerup", () => at("slider").blur());

addEventListener("resize", markScrolling);

// The episode and the step that the address names, or the first of both.
function visit() {
  const [name, place] = location.hash.slice(1).split("/");
  const found = data.episodes.find((one) => one.id === name);
  at("astray").hidden = !name || Boolean(found);
  at("astray").textContent = `The address names the episode ${name}, which is not on this page; --episode makes one that has it.`;
  if (found && !shown.includes(found)) { kind = "all"; showList(); }
  if (found || !episode) open(found || shown[0], found ? Number(place) : 0);
}
addEventListener("hashchange", visit);

showHead();
showFilters();
showList();
visit();
