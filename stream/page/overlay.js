// What lies over the video when the picture does not speak for itself.
import { byId, element, setText } from "/page/dom.js";

/**
 * Show an overlay as `overlayFor` made it; null takes it away.
 * @param {?Object} notice
 */
export function showOverlay(notice) {
  const layer = byId("overlay");
  layer.hidden = notice === null;
  layer.dataset.kind = notice?.kind ?? "";
  setText(byId("announce"), notice ? `${notice.announce ?? notice.title}. ${notice.detail}` : "");
  if (!notice) return;
  setText(byId("overlay-title"), notice.title);
  fill("overlay-detail", notice.detail);
  keepOptionsWhole(byId("overlay-detail"));
  fill("overlay-clock", notice.clock);
  fill("overlay-action", notice.action);
  byId("overlay-spinner").hidden = !notice.isBusy;
  byId("token-form").hidden = notice.kind !== "token";
}

/** Let no line end inside a command-line option such as --allow-late. */
function keepOptionsWhole(node) {
  const parts = node.textContent.split(/(--[\w-]+)/);
  if (parts.length > 1 && node.children.length === 0)
    node.replaceChildren(...parts.map((part, index) => (index % 2 ? element("span", "unbroken", part) : part)));
}

function fill(id, text = "") {
  setText(byId(id), text);
  byId(id).hidden = !text;
}
