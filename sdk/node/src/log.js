// The log: one JSON object a line on standard error, as hclog writes it. Every
// value is a string. The host takes a line of at most 2 KiB for what it is, so
// fields are cut to fit.
const MAX_LINE = 2000
const MAX_VALUE = 1100

/** @param {string} level @param {string} name @param {unknown} message @param {Record<string, unknown>} fields */
export function line(level, name, message, fields) {
  /** @type {Record<string, string>} */
  const entry = {
    '@level': level, '@message': String(message).slice(0, MAX_VALUE / 2), '@module': name, '@timestamp': new Date().toISOString(),
  }
  for (const [k, v] of Object.entries(fields)) entry[k] = String(v).slice(0, MAX_VALUE)
  let text = JSON.stringify(entry)
  for (const k of Object.keys(fields).reverse()) {
    if (Buffer.byteLength(text) <= MAX_LINE) break
    entry[k] = entry[k].slice(0, 100)
    text = JSON.stringify(entry)
  }
  return text
}

/**
 * @param {string} name @param {Record<string, unknown>} fields
 * @param {(level: string, message: unknown, fields: Record<string, unknown>) => void} [write]
 * @returns {import('./index.d.ts').Log & {with(f: Record<string, unknown>): any}}
 */
export function logger(name, fields = {}, write = (level, message, all) => void process.stderr.write(line(level, name, message, all) + '\n')) {
  const at = (/** @type {string} */ level) => (/** @type {unknown} */ message, /** @type {any} */ more = {}) =>
    write(level, message, { ...fields, ...more })
  return {
    debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'),
    with: (f) => logger(name, { ...fields, ...f }, write),
  }
}
