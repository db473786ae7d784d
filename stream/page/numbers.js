// Numbers as people read them. A value that is not there yet is an en dash, never NaN.

const NONE = "–";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Milliseconds: one decimal below 10, whole from there. */
export function ms(value) {
  if (!isNumber(value)) return NONE;
  return value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

/** A rate with one decimal, such as frames per second. */
export function rate(value) {
  return isNumber(value) ? value.toFixed(1) : NONE;
}

/** A count with thousands separated. */
export function count(value) {
  return isNumber(value) ? Math.round(value).toLocaleString("en") : NONE;
}

/** A share 0..1 as per cent; "100" only when nothing is missing, "0" only when nothing is there. */
export function percent(share) {
  if (!isNumber(share)) return NONE;
  const value = share * 100;
  if (value === 0 || value === 100) return value.toFixed(0);
  return Math.min(99.9, Math.max(0.1, value)).toFixed(1);
}

/** A share 0..1 as whole per cent, for what is known no better. */
export function wholePercent(share) {
  return isNumber(share) ? Math.round(share * 100).toFixed(0) : NONE;
}

/** Bits per second as kbit/s or Mbit/s. */
export function bitRate(bps) {
  if (!isNumber(bps)) return NONE;
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}

/** WIDTHxHEIGHT, or an en dash. */
export function size(width, height) {
  return width && height ? `${width}×${height}` : NONE;
}

/** Whole seconds, at least 0. */
export function seconds(milliseconds) {
  return Math.max(0, Math.ceil(milliseconds / 1000));
}
