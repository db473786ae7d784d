// The budget bar: a typical frame's steps end to end, against the budget. Which step eats the time is seen at a glance.
import { byId, element, setAttribute, setText, syncChildren } from "/page/dom.js";
import { ms } from "/page/numbers.js";
import { slowestStep, stepWords, verdict, wholeWay } from "/page/texts.js";

const ORDER = ["decode", "queue", "wait", "models", "hand_over", "compose", "encode", "send", "screen"];
const LONGEST_AXIS = 4; // budgets: one far outlier must not squeeze everything else into a sliver

/** Show a stream's latency against its budget. */
export function showBudget(stream) {
  const latency = stream.latency_ms ?? {};
  const budgetMs = stream.budget_ms;
  const { words, tone } = verdict(latency, budgetMs);
  setText(byId("verdict"), words);
  byId("verdict").className = `verdict tone-${tone}`;
  const { total, steps: found, isToScreen } = wholeWay(latency);
  const steps = stepsOf(found);
  const axisMs = axisFor(budgetMs, total, steps);
  drawSteps(steps, axisMs);
  drawMarks(total, budgetMs, axisMs);
  listSteps(steps, slowestStep(found));
  setAttribute(byId("bar"), "aria-label", describe(total, budgetMs, steps, isToScreen));
}

function stepsOf(found = {}) {
  const names = [...ORDER.filter((name) => found[name]), ...Object.keys(found).filter((name) => !ORDER.includes(name))];
  return names.map((name) => ({ name, p50: found[name]?.p50 ?? null, p95: found[name]?.p95 ?? null }));
}

function axisFor(budgetMs, total, steps) {
  const sum = steps.reduce((all, step) => all + (step.p50 ?? 0), 0);
  const wanted = Math.max(budgetMs * 1.15, (total.p99 ?? 0) * 1.06, sum * 1.04);
  return Math.min(wanted, budgetMs * LONGEST_AXIS);
}

function drawSteps(steps, axisMs) {
  const create = () => element("span", "bar-step", element("span", "bar-step-words"));
  const barPx = byId("bar").clientWidth;
  syncChildren(
    byId("bar-steps"),
    steps,
    (step) => step.name,
    create,
    (node, step) => {
      const share = (step.p50 ?? 0) / axisMs;
      node.style.width = `${(share * 100).toFixed(2)}%`;
      node.dataset.step = step.name;
      setText(node.firstChild, wordsFitting(share * barPx, step));
    },
  );
}

/** Name and time where they fit, the time alone where only it does. */
function wordsFitting(widthPx, step) {
  const time = ms(step.p50);
  const name = stepWords(step.name);
  const characterPx = 9; // of the widest system fonts at this size
  if ((name.length + time.length + 2) * characterPx < widthPx) return `${name} ${time}`;
  return (time.length + 1) * characterPx < widthPx ? time : "";
}

function drawMarks(total, budgetMs, axisMs) {
  const at = (value) => `${Math.min(100, (value / axisMs) * 100).toFixed(2)}%`;
  byId("bar-budget").style.left = at(budgetMs);
  byId("bar-over").style.left = at(budgetMs);
  setText(byId("bar-budget-label"), `budget ${ms(budgetMs)} ms`);
  hang(byId("bar-budget-label"), budgetMs / axisMs);
  for (const name of ["p95", "p99"]) {
    const value = total[name];
    byId(`bar-${name}`).hidden = byId(`bar-${name}-label`).hidden = typeof value !== "number";
    if (typeof value !== "number") continue;
    byId(`bar-${name}`).style.left = at(value);
    setText(byId(`bar-${name}-label`), `${name} ${ms(value)}`);
    hang(byId(`bar-${name}-label`), value / axisMs);
  }
  keepApart(byId("bar-p95-label"), byId("bar-p99-label"));
}

/** Place a label under its mark, inside the bar's ends. */
function hang(label, share) {
  const bar = byId("bar").clientWidth;
  const half = label.offsetWidth / 2;
  label.style.left = `${Math.round(Math.min(bar - half, Math.max(half, Math.min(1, share) * bar)))}px`;
}

/** Push the second label right of the first, or the first left when there is no room. */
function keepApart(first, second) {
  if (first.hidden || second.hidden) return;
  const gap = 10;
  const needed = (first.offsetWidth + second.offsetWidth) / 2 + gap;
  let [left, right] = [parseFloat(first.style.left), parseFloat(second.style.left)];
  if (right - left >= needed) return;
  right = Math.min(byId("bar").clientWidth - second.offsetWidth / 2, left + needed);
  left = Math.min(left, right - needed);
  first.style.left = `${left}px`;
  second.style.left = `${right}px`;
}

function listSteps(steps, slowest) {
  const create = () =>
    element(
      "li",
      "step",
      element("span", "step-dot"),
      element("span", "step-words"),
      element("span", "step-value"),
      element("span", "step-p95"),
    );
  syncChildren(
    byId("steps"),
    steps,
    (step) => step.name,
    create,
    (node, step) => {
      node.className = step.name === slowest ? "step step-slowest" : "step";
      node.dataset.step = step.name;
      setText(node.children[1], stepWords(step.name));
      setText(node.children[2], `${ms(step.p50)} ms`);
      setText(node.children[3], `p95 ${ms(step.p95)}`);
    },
  );
}

function describe(total, budgetMs, steps, isToScreen) {
  const parts = steps.map((step) => `${stepWords(step.name)} ${ms(step.p50)} ms`).join(", ");
  return `Capture to ${isToScreen ? "screen" : "send"}: p50 ${ms(total.p50)}, p95 ${ms(total.p95)}, p99 ${ms(total.p99)} of ${ms(budgetMs)} ms budget. Typical steps: ${parts || "none yet"}.`;
}
