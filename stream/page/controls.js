// Options of a model that may change while it plays: a slider where there is a range, else a text box with a button.
import { element, setAttribute, setText, syncChildren } from "/page/dom.js";

const TIMEOUT_MS = 10_000; // the server itself answers within 5 s

let serial = 0; // makes ids for labels

/** Sends changes to the server, and shows the options of each stage. */
export class Controls {
  /** @param {{headers: function(): Object}} options a function returning the request headers */
  constructor({ headers }) {
    this.headers = headers;
  }

  /** Make the place that `show` fills. */
  create() {
    return element("div", "controls");
  }

  /**
   * Show a stage's options in `place`; hide it when there are none. What a person is at is left alone.
   * @param {Element} place
   * @param {string} stream
   * @param {{name: string, live?: Object}} stage
   */
  show(place, stream, stage) {
    const options = Object.entries(stage.live ?? {}).map(([name, option]) => ({ name, ...option }));
    place.hidden = options.length === 0;
    place.dataset.path = `/api/streams/${encodeURIComponent(stream)}/stages/${encodeURIComponent(stage.name)}`;
    syncChildren(
      place,
      options,
      (option) => `${option.name} ${hasRange(option) ? "range" : "text"}`,
      (option) => this.#make(place, option),
      (form, option) => showValue(form, stage, option),
    );
  }

  #make(place, option) {
    const id = `control-${++serial}`;
    const label = element("label", "control-name");
    label.htmlFor = id;
    const input = document.createElement("input");
    input.id = id;
    input.name = option.name;
    const problem = element("p", "control-problem");
    problem.setAttribute("role", "status");
    const form = element("form", "control", label, input);
    if (hasRange(option)) {
      Object.assign(input, { type: "range", min: option.low, max: option.high, step: stepOf(option) });
      const shown = element("output", "control-value");
      shown.htmlFor = id;
      form.append(shown, problem);
      input.addEventListener("input", () => {
        form.dataset.held = "yes"; // being dragged: the server's value must not pull it back
        setText(shown, input.value);
      });
      input.addEventListener("change", () => form.requestSubmit());
    } else {
      Object.assign(input, { type: "text", autocomplete: "off", maxLength: 2000 });
      const apply = element("button", "control-apply", "Apply");
      apply.type = "submit";
      form.append(apply, problem);
      input.addEventListener("input", () => (form.dataset.held = "yes"));
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(place.dataset.path, form, input, problem);
    });
    return form;
  }

  async #send(path, form, input, problem) {
    form.dataset.held = "yes";
    form.classList.add("is-sending");
    const answer = await this.#patch(path, { [input.name]: input.value });
    form.classList.remove("is-sending");
    setText(problem, answer.error ?? "");
    if (answer.error && input.type === "text") return; // what was typed can be mended
    delete form.dataset.held;
    const value = answer.live?.[input.name]?.value;
    if (value !== undefined) setValue(form, value);
  }

  /** Return {live} as the server answered, or {error} in words. */
  async #patch(path, wanted) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(path, {
        method: "PATCH",
        headers: { ...this.headers(), "Content-Type": "application/json" },
        body: JSON.stringify(wanted),
        signal: abort.signal,
      });
      const told = await answer.json().catch(() => ({}));
      return answer.ok ? told : { error: told.error ?? `The server answered ${answer.status}.` };
    } catch {
      return { error: "The server did not answer." };
    } finally {
      clearTimeout(timer);
    }
  }
}

const hasRange = (option) => typeof option.low === "number" && typeof option.high === "number";

// A power of ten, so that a value a person wrote lies on a step: 0.01 for 0.05 to 1, 1 for 1 to 60.
const stepOf = (option) => 10 ** Math.floor(Math.log10((option.high - option.low) / 50));

function showValue(form, stage, option) {
  const [label, input] = form.children;
  setText(label, option.name);
  setAttribute(input, "title", [option.meaning, option.allowed].filter(Boolean).join(": "));
  setAttribute(input, "aria-label", `${option.name} of ${stage.name}`);
  if (input.type === "text") setAttribute(input, "placeholder", (option.allowed ?? "").split(",")[0]); // all of it is in the title
  if (form.dataset.held !== "yes") setValue(form, option.value ?? "");
}

function setValue(form, value) {
  const input = form.querySelector("input");
  if (input.value !== value) input.value = value;
  const shown = form.querySelector("output");
  if (shown) setText(shown, value);
}
