// What lies over the video when the picture does not speak for itself.
import { byId, setText } from "/page/dom.js";

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
  fill("overlay-clock", notice.clock);
  fill("overlay-action", notice.action);
  byId("overlay-spinner").hidden = !notice.isBusy;
  byId("token-form").hidden = notice.kind !== "token";
}

function fill(id, text = "") {
  setText(byId(id), text);
  byId(id).hidden = !text;
}
