// Settings: what a scanner declares as the wire knows it, and how to read them.
import { bytesText, clean, durationText, MAX_MESSAGE, MAX_TITLE, oneLine, parseBytes, parseDuration } from './text.js'

/** @typedef {import('./index.d.ts').Setting<any>} Setting */
/** @typedef {{severity: string, summary: string, detail: string, attributePath: string[]}} Diagnostic */
/** @typedef {Record<string, any>} Attribute as proto-loader has it */

const NAME = /^[a-z][a-z0-9_]{0,62}$/
const ORDERED = ['TYPE_INT', 'TYPE_FLOAT', 'TYPE_BYTES', 'TYPE_DURATION']
const TEXTS = ['TYPE_STRING', 'TYPE_STRING_LIST']
/** @type {Record<string, () => unknown>} */
const ZERO = {
  TYPE_STRING: () => '', TYPE_INT: () => 0, TYPE_FLOAT: () => 0, TYPE_BOOL: () => false, TYPE_DURATION: () => 0,
  TYPE_BYTES: () => 0, TYPE_STRING_LIST: () => [], TYPE_STRING_MAP: () => ({}),
}

/** @param {string} type @returns {(about?: any) => any} */
const setting = (type) => (about = {}) => ({ type, about })
export const string = setting('TYPE_STRING')
export const int = setting('TYPE_INT')
export const float = setting('TYPE_FLOAT')
export const bool = setting('TYPE_BOOL')
export const duration = setting('TYPE_DURATION')
export const bytes = setting('TYPE_BYTES')
export const stringList = setting('TYPE_STRING_LIST')
export const stringMap = setting('TYPE_STRING_MAP')

/** What a scanner takes; its mistakes are the author's. */
export class Schema {
  /** @param {Record<string, Setting>} declared @param {((c: any) => void) | undefined} validate */
  constructor(declared, validate) {
    this.validate = validate
    /** @type {Attribute[]} */
    this.attributes = []
    /** @type {string[]} */
    this.mistakes = []
    for (const [name, s] of Object.entries(declared ?? {})) {
      try {
        this.attributes.push(attribute(name, /** @type {any} */ (s)))
      } catch (e) {
        this.mistakes.push(`setting ${name}: ${/** @type {Error} */ (e).message}`)
      }
    }
  }

  block() {
    return { attributes: this.attributes }
  }

  /**
   * Reads one JSON object; empty counts as {}. Gives every mistake at once.
   * @param {Uint8Array} raw
   * @returns {{settings: any, diagnostics: Diagnostic[]}}
   */
  decode(raw) {
    /** @type {Diagnostic[]} */
    const diagnostics = []
    const bad = (/** @type {string} */ name, /** @type {string} */ summary, /** @type {string} */ detail) =>
      diagnostics.push({
        severity: 'SEVERITY_ERROR', summary: clean(summary, MAX_TITLE), detail: clean(detail, MAX_MESSAGE),
        attributePath: name ? [clean(name, MAX_TITLE)] : [],
      })
    const given = object(raw)
    if (!given) {
      bad('', 'the settings are not one JSON object', `give an object such as {} (${raw.length} bytes were given)`)
      return { settings: null, diagnostics }
    }
    const known = this.attributes.map((a) => a.name)
    for (const name of Object.keys(given).sort()) {
      if (known.includes(name)) continue
      bad(name, `there is no setting "${name.slice(0, 64)}"`, known.length ? `It takes ${known.join(', ')}.` : 'This takes no settings.')
    }
    /** @type {Record<string, unknown>} */
    const settings = {}
    for (const a of this.attributes) {
      let v = Object.hasOwn(given, a.name) ? given[a.name] : null
      if (v === null && a.required) {
        bad(a.name, `"${a.name}" is required`, a.description)
        continue
      }
      if (v === null && !a.defaultJson) {
        settings[a.name] = ZERO[a.type]()
        continue
      }
      if (v === null) v = JSON.parse(a.defaultJson)
      const { value, problem } = check(a, v)
      if (problem) bad(a.name, `"${a.name}" ${problem}`, a.description)
      settings[a.name] = value
    }
    if (diagnostics.length === 0 && this.validate) {
      try {
        this.validate(settings)
      } catch (e) {
        if (!(e instanceof RangeError)) throw e
        bad('', oneLine(e.message, MAX_TITLE), '')
      }
    }
    return { settings: diagnostics.length ? null : settings, diagnostics }
  }
}

/** @param {string} name @param {{type: string, about: any}} s @returns {Attribute} */
function attribute(name, s) {
  if (!NAME.test(name)) throw new RangeError('the name must be lower-case letters, digits and _')
  if (!s || !ZERO[s.type]) throw new RangeError('declare it with string(), int(), float(), bool(), duration(), bytes(), stringList() or stringMap()')
  const { type, about } = s
  /** @type {Attribute} */
  const a = {
    name, type, required: about.required === true, description: about.doc ?? '', sensitive: about.sensitive === true,
    oneOf: about.oneOf ?? [], pattern: about.pattern ?? '', deprecated: about.deprecated ?? '', defaultJson: '',
  }
  if ((a.oneOf.length || a.pattern) && !TEXTS.includes(type)) throw new RangeError('oneOf and pattern are for strings and lists of them')
  if (Buffer.byteLength(a.pattern) > 1 << 10) throw new RangeError('pattern is longer than 1 KiB')
  new RegExp(a.pattern, 'u') // throws
  for (const bound of ['min', 'max']) {
    if (about[bound] === undefined) continue
    if (!ORDERED.includes(type)) throw new RangeError('min and max are for numbers, sizes and durations')
    a[bound] = number(type, about[bound])
    if (type === 'TYPE_DURATION') a[bound] /= 1e3 // seconds on the wire
  }
  if (about.default === undefined) return a
  if (a.required) throw new RangeError('required and default exclude each other')
  let given = about.default
  if (type === 'TYPE_BYTES') given = number(type, given)
  if (type === 'TYPE_DURATION' && typeof given === 'number') given = durationText(given)
  a.defaultJson = JSON.stringify(given)
  const { problem } = check(a, given)
  if (problem) throw new RangeError(`default ${a.defaultJson} ${problem}`)
  return a
}

/** A bound or a size as authors write it. @param {string} type @param {number | string} v */
function number(type, v) {
  if (typeof v !== 'string') return v
  return type === 'TYPE_BYTES' ? parseBytes(v) : type === 'TYPE_DURATION' ? parseDuration(v) : Number(v)
}

/** @param {Uint8Array} raw @returns {Record<string, unknown> | null} */
function object(raw) {
  const text = Buffer.from(raw).toString('utf8')
  if (text.trim() === '') return {}
  try {
    const v = JSON.parse(text)
    return v !== null && typeof v === 'object' && !Array.isArray(v) ? v : null
  } catch {
    return null
  }
}

/**
 * Checks a JSON value; problem is what is wrong, to be read after its name.
 * @param {Attribute} a @param {any} v @returns {{value?: unknown, problem: string}}
 */
function check(a, v) {
  switch (a.type) {
    case 'TYPE_STRING':
      return typeof v === 'string' ? { value: v, problem: outside(a, v) } : { problem: `must be a string, ${got(v)}` }
    case 'TYPE_BOOL':
      return typeof v === 'boolean' ? { value: v, problem: '' } : { problem: `must be true or false, ${got(v)}` }
    case 'TYPE_INT':
    case 'TYPE_BYTES':
      return whole(a, v)
    case 'TYPE_FLOAT':
      return typeof v === 'number' ? { value: v, problem: outOfRange(a, v) } : { problem: `must be a number, ${got(v)}` }
    case 'TYPE_DURATION':
      if (typeof v !== 'string') return { problem: `must be a duration such as "30s", ${got(v)}` }
      try {
        const ms = parseDuration(v)
        return { value: ms, problem: outOfRange(a, ms / 1e3) }
      } catch {
        return { problem: 'must be a duration such as "30s"' }
      }
    case 'TYPE_STRING_LIST':
      if (!Array.isArray(v) || !v.every((s) => typeof s === 'string')) return { problem: `must be a list of strings, ${got(v)}` }
      return { value: v, problem: v.map((s) => outside(a, s)).find(Boolean) ?? '' }
    default:
      if (v === null || typeof v !== 'object' || Array.isArray(v) || !Object.values(v).every((s) => typeof s === 'string')) {
        return { problem: `must be an object of strings, ${got(v)}` }
      }
      return { value: v, problem: '' }
  }
}

/** @param {Attribute} a @param {any} v */
function whole(a, v) {
  const size = a.type === 'TYPE_BYTES'
  const want = size ? 'a number of bytes' : 'a whole number'
  if (size && typeof v === 'string') {
    try {
      v = parseBytes(v)
    } catch {
      return { problem: 'must be a size such as "10MiB"' }
    }
  }
  if (typeof v !== 'number') return { problem: `must be ${want}, ${got(v)}` }
  if (!Number.isInteger(v) || Math.abs(v) >= 2 ** 63) return { problem: `must be ${want}, got a fraction or a number out of reach` }
  return { value: v, problem: outOfRange(a, v) }
}

/** @param {Attribute} a @param {string} s */
function outside(a, s) {
  if (a.oneOf.length && !a.oneOf.includes(s)) return `must be one of ${a.oneOf.join(', ')}`
  if (a.pattern && !new RegExp(a.pattern, 'u').test(s)) return `must match ${a.pattern}`
  return ''
}

/** @param {Attribute} a @param {number} n */
function outOfRange(a, n) {
  const show = (/** @type {number} */ b) =>
    a.type === 'TYPE_DURATION' ? durationText(b * 1e3) : a.type === 'TYPE_BYTES' ? bytesText(b) : String(b)
  if (a.min !== undefined && n < a.min) return `must be at least ${show(a.min)}`
  if (a.max !== undefined && n > a.max) return `must be at most ${show(a.max)}`
  return ''
}

/** Names the JSON type; never the value, which may be sensitive. @param {unknown} v */
function got(v) {
  if (v === null) return 'got null'
  if (Array.isArray(v)) return 'got a list'
  return { string: 'got a string', object: 'got an object', boolean: 'got a bool' }[/** @type {string} */ (typeof v)] ?? 'got a number'
}
