// Building and refreshing the page's nodes. Text always goes in as text, never as markup: names come from strangers.

/** Return the element with this id; the page is broken without it, so a missing one throws. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page has no element #${id}`);
  return node;
}

/**
 * Make an element with a class and children.
 * @param {string} tag
 * @param {string} [className]
 * @param {...(Node|string)} children strings become text nodes
 */
export function element(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** Set a node's text only when it differs, so that screen readers and selections are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set an attribute only when it differs. */
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Make a container's children match `items`, keeping the nodes whose key stays: focus and transitions survive.
 * @param {Element} container
 * @param {Array<Object>} items
 * @param {function(Object): string} keyOf
 * @param {function(Object): Element} create
 * @param {function(Element, Object): void} update
 */
export function syncChildren(container, items, keyOf, create, update) {
  const old = new Map([...container.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, place) => {
    const key = keyOf(item);
    let node = old.get(key);
    old.delete(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    if (container.children[place] !== node) container.insertBefore(node, container.children[place] ?? null);
    update(node, item);
  });
  for (const node of old.values()) node.remove();
}

/**
 * Fill a list with "words ... number" rows.
 * @param {Element} list
 * @param {Array<{key: string, words: string, value: string, note?: string, tone?: string}>} rows
 */
export function syncRows(list, rows) {
  const create = () =>
    element("li", "row", element("span", "row-words"), element("span", "row-note"), element("span", "row-value"));
  syncChildren(
    list,
    rows,
    (row) => row.key,
    create,
    (node, row) => {
      const [words, note, value] = node.children;
      setText(words, row.words);
      setText(note, row.note ?? "");
      setText(value, row.value);
      node.className = row.tone ? `row tone-${row.tone}` : "row";
    },
  );
}
