// How long to wait before trying again: doubling, bounded, and a little random so that many pages do not return at once.

const FIRST_MS = 1000; // a restart of the server is often done within a second or two
const LONGEST_MS = 10000; // a person watching should never wait longer than this after the server is back

/**
 * Return the wait before attempt number `attempt` (1 is the first retry).
 * @param {number} attempt
 * @param {number} [random] 0..1, given by tests
 */
export function backoffMs(attempt, random = Math.random()) {
  const base = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, attempt - 1));
  return Math.round(base * (0.8 + 0.2 * random));
}
