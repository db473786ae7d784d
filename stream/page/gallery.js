// The list of streams: links to #name, so that the keyboard, the back button and bookmarks work by themselves.
import { byId, element, setAttribute, setText, syncChildren } from "/page/dom.js";
import { ms, rate } from "/page/numbers.js";
import { stateWords } from "/page/texts.js";

/** The stream named in the page's address; null when there is none. */
export function nameInAddress() {
  const raw = location.hash.slice(1);
  if (!raw) return null;
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw; // a stray percent sign: take it as typed
  }
}

/** The stream to play: the one asked for, else the first that has pictures, else the first. Null when there is none. */
export function chooseStream(streams, wanted, current) {
  if (wanted !== null) return streams.find((stream) => stream.name === wanted) ?? null;
  const stay = streams.find((stream) => stream.name === current);
  return stay ?? streams.find((stream) => stream.ready && stream.source?.state === "running") ?? streams[0] ?? null;
}

/** Show the streams; a single one needs no list. */
export function showGallery(streams, selectedName, isAsked) {
  byId("streams-nav").hidden = streams.length < 2 && !isAsked;
  const create = () => {
    const link = element(
      "a",
      "",
      element("span", "dot"),
      element("span", "stream-name"),
      element("span", "stream-note"),
    );
    return element("li", "stream", link);
  };
  syncChildren(
    byId("streams"),
    streams,
    (stream) => stream.name,
    create,
    (node, stream) => {
      const link = node.firstChild;
      const { words, tone } = stateWords(stream);
      const isPlaying = tone === "good";
      setAttribute(link, "href", `#${encodeURIComponent(stream.name)}`);
      if (stream.name === selectedName) setAttribute(link, "aria-current", "true");
      else link.removeAttribute("aria-current");
      link.children[0].className = `dot tone-${tone}`;
      setText(link.children[1], stream.name);
      setText(
        link.children[2],
        isPlaying ? `${rate(stream.fps?.shown)} fps · ${ms(stream.latency_ms?.capture_to_send?.p95)} ms` : words,
      );
    },
  );
}
