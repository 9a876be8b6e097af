// Text as the wire wants it, and sizes and durations as people write them. The
// limits are those of the Go SDK, and of the host, which cuts at the same
// places: a batch then always fits its message.

export const MAX_TITLE = 256
export const MAX_MESSAGE = 8 << 10
export const MAX_SNIPPET = 2 << 10
export const MAX_PATH = 4 << 10
export const MAX_IDENTITY = 16
export const MAX_PROPERTIES = 32
export const MAX_PROPERTY = 1 << 10

/**
 * Makes text well-formed without NUL and cuts it to at most limit bytes of UTF-8.
 * @param {unknown} text @param {number} limit
 */
export function clean(text, limit) {
  // First roughly, so that the cost does not grow with the text.
  const s = String(text ?? '').slice(0, limit).replaceAll('\0', '\ufffd')
  const raw = Buffer.from(s, 'utf8') // lone surrogates become U+FFFD
  if (raw.length <= limit) return raw.toString('utf8')
  let end = limit
  while (end > 0 && (raw[end] & 0xc0) === 0x80) end-- // a rune is not split
  return raw.toString('utf8', 0, end)
}

/**
 * Cleans text that must be one line.
 * @param {unknown} text @param {number} limit
 */
export function oneLine(text, limit) {
  return clean(text, limit).split(/\s+/).filter(Boolean).join(' ')
}

/** @type {import('./index.d.ts').redact} */
export function redact(secret) {
  return Buffer.byteLength(secret) < 20 ? '****' : clean(secret, 4) + '****'
}

/** @type {Record<string, number>} */
const UNITS = {
  '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12,
  kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40,
}

/** @type {import('./index.d.ts').parseBytes} */
export function parseBytes(text) {
  const m = /^\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*$/.exec(text)
  const unit = m && UNITS[m[2].toLowerCase()]
  if (!m || unit === undefined || unit === null) throw new RangeError(`"${text.slice(0, 40)}" is not a size such as 10MiB`)
  const n = Number(m[1]) * unit
  if (!Number.isInteger(n) || n >= 2 ** 63) throw new RangeError(`"${text.slice(0, 40)}" is not a whole number of bytes below 8 EiB`)
  return n
}

/** @param {number} n */
export function bytesText(n) {
  for (const [size, name] of /** @type {[number, string][]} */ ([[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']])) {
    if (n >= size && n % size === 0) return `${n / size}${name}`
  }
  return `${n}B`
}

/** @type {Record<string, number>} */
const MILLISECONDS = { ns: 1e-6, us: 1e-3, 'µs': 1e-3, 'μs': 1e-3, ms: 1, s: 1e3, m: 60e3, h: 3600e3 }

/** @type {import('./index.d.ts').parseDuration} */
export function parseDuration(text) {
  const m = /^([+-]?)((?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text)
  if (!m) throw new RangeError(`"${text.slice(0, 40)}" is not a duration such as "30s"`)
  let ms = 0
  for (const [, n, unit] of m[2].matchAll(/([0-9.]+)(ns|us|µs|μs|ms|s|m|h)/g)) ms += Number(n) * MILLISECONDS[unit]
  if (ms >= 2 ** 33 * 1e3) throw new RangeError(`"${text.slice(0, 40)}" is too long`) // where the host's own end
  return m[1] === '-' ? -ms : ms
}

/** Writes milliseconds so that the host reads them. @param {number} ms */
export function durationText(ms) {
  return `${Number((ms / 1e3).toFixed(6))}s`
}
