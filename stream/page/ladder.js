// A model's ladder: its variants as steps, best first, the one in use marked; and the last changes, with their reasons.
import { byId, element, setAttribute, setText, syncChildren } from "/page/dom.js";
import { ms, wholePercent } from "/page/numbers.js";
import { agoWords, baseVariant, changeWords, variantWords } from "/page/texts.js";

/** True for a stage that has something to choose from. */
export const hasLadder = (stage) => Array.isArray(stage.ladder) && stage.ladder.length > 1;

/** What runs a stage, without the step it is on where its steps are shown beside. */
export function engineWords(stage) {
  return (hasLadder(stage) ? baseVariant(stage.variant, stage.ladder) : stage.variant) ?? "";
}

/** Make the list that `showSteps` fills. */
export function createSteps() {
  return element("ol", "rungs");
}

/** Show a stage's variants in `list`; hide it when there is only one. */
export function showSteps(list, stage) {
  list.hidden = !hasLadder(stage);
  if (list.hidden) return;
  setAttribute(list, "aria-label", `Variants of ${stage.name}, best first`);
  const used = stage.rung ?? stage.ladder.findIndex((rung) => rung.variant === stage.variant);
  const rungs = stage.ladder.map((rung, index) => ({ ...rung, index, isUsed: index === used }));
  const create = () =>
    element(
      "li",
      "rung",
      element("span", "rung-words"),
      element("span", "rung-cost"),
      element("span", "rung-quality"),
      element("span", "rung-track", element("span", "rung-fill")),
    );
  syncChildren(
    list,
    rungs,
    (rung) => String(rung.index),
    create,
    (node, rung) => {
      const [words, cost, quality, track] = node.children;
      setText(words, variantWords(rung.variant, stage.ladder, rung.index));
      setText(cost, rung.ready === false ? "getting ready" : `${ms(rung.predicted_ms)} ms`);
      setText(quality, `quality ${wholePercent(rung.quality)} %`);
      track.firstChild.style.width = `${Math.min(100, Math.max(0, (rung.quality ?? 0) * 100))}%`;
      node.className = `rung${rung.isUsed ? " rung-used" : ""}${rung.ready === false ? " rung-unready" : ""}`;
      if (rung.isUsed) setAttribute(node, "aria-current", "step");
      else node.removeAttribute("aria-current");
    },
  );
}

/** Show the last changes, newest first. Their place is there as soon as a stage has a ladder, so nothing moves. */
export function showChanges(stream) {
  const stages = stream?.stages ?? [];
  byId("changes").hidden = !stages.some(hasLadder);
  const total = stages.reduce((all, stage) => all + (stage.changes ?? 0), 0);
  setText(byId("changes-count"), total ? `${total} in all` : "");
  const events = (stream?.ladder_events ?? []).map((event, index) => ({ ...event, index }));
  byId("changes-none").hidden = events.length > 0;
  const create = () =>
    element(
      "li",
      "change",
      element("span", "change-when"),
      element("span", "change-sign"),
      element("p", "change-words", element("strong"), element("span", "change-reason")),
    );
  syncChildren(
    byId("changes-list"),
    events,
    (event) => String(event.index),
    create,
    (node, event) => {
      const [when, sign, words] = node.children;
      const change = changeWords(event, stages.find((stage) => stage.name === event.stage)?.ladder ?? []);
      setText(when, agoWords(event.at_s_ago));
      setText(sign, { lighter: "↓", better: "↑" }[change.direction] ?? "");
      node.className = change.direction ? `change change-${change.direction}` : "change";
      setText(words.children[0], change.words);
      setText(words.children[1], event.reason ? `: ${event.reason}` : "");
    },
  );
}
