// Where a scan reports, and what waits there to be sent.
import { createHash } from 'node:crypto'
import { Cancelled } from './errors.js'
import { clean, MAX_IDENTITY, MAX_MESSAGE, MAX_PATH, MAX_PROPERTIES, MAX_PROPERTY, MAX_SNIPPET, MAX_TITLE, oneLine } from './text.js'

const BATCH_COUNT = 50
const BATCH_BYTES = 256 << 10
const MAX_NOTES = 1000
const MAX_REASONS = 5

/** @typedef {Record<string, any>} Event as proto-loader has it */

export class Out {
  /** @type {Event[]} */ #ready = [] // must not wait for the clock
  /** @type {Event[]} */ #notes = []
  /** @type {Event[]} */ #batch = []
  /** @type {string[]} */ #reasons = []
  /** @type {Set<string>} */ #artifacts = new Set()
  /** @type {Event} */ #progress = { phase: 'starting' }
  /** @type {(() => void)[]} */ #waiting = []
  #notApplicable = ''
  #fresh = true // the progress has not been sent
  #closed = false
  #bytes = 0
  #noted = 0
  #found = 0
  #files = 0
  #scanned = 0
  #rules
  #limit
  #fail
  #signal
  #wake

  /**
   * @param {{log: import('./index.d.ts').Log, rules: Set<string>, limit: number, signal: AbortSignal,
   *   fail: (why: string) => void, wake: () => void}} o
   */
  constructor({ log, rules, limit, signal, fail, wake }) {
    this.log = log
    this.#rules = rules
    this.#limit = limit // findings wanted; 0: no limit
    this.#fail = fail // ends the scan with a mistake of the author's
    this.#signal = signal
    this.#wake = wake // tells the run that something must not wait
    signal.addEventListener('abort', () => this.#go())
  }

  /** @param {string} rule @param {import('./index.d.ts').Finding} f @returns {Promise<void>} */
  finding(rule, f) {
    if (!this.#rules.has(rule)) {
      this.#fail(`the scanner reported a finding by the rule "${rule.slice(0, 80)}", which it does not declare`)
      throw new Cancelled()
    }
    if (this.#signal.aborted) throw new Cancelled()
    if (this.#closed) return Promise.resolve()
    if (this.#limit && this.#found >= this.#limit) {
      this.#incomplete(`more than ${this.#limit} findings; the rest was left out`)
      return Promise.resolve()
    }
    const wire = finding(rule, f)
    this.#found++
    this.#batch.push(wire)
    this.#bytes += size(wire)
    if (this.#batch.length >= BATCH_COUNT || this.#bytes >= BATCH_BYTES) {
      this.#ready.push(this.#take())
      this.#wake()
    }
    return this.room()
  }

  /** @param {import('./index.d.ts').Progress} p */
  progress(p) {
    this.#progress = {
      phase: oneLine(p.phase, MAX_TITLE), done: count(p.done), total: count(p.total),
      unit: oneLine(p.unit, MAX_TITLE), message: oneLine(p.message, MAX_TITLE),
    }
    this.#fresh = true
  }

  /** @param {string} reason */
  partial(reason) {
    this.#incomplete(oneLine(reason, MAX_TITLE))
  }

  /** @param {string} reason */
  notApplicable(reason) {
    this.#notApplicable = oneLine(reason, MAX_TITLE) || 'nothing in the target is for this scanner'
  }

  /** @param {string} summary @param {{path?: string, detail?: string, warning?: boolean}} [more] */
  note(summary, more = {}) {
    if (this.#closed || this.#noted > MAX_NOTES) return
    if (++this.#noted > MAX_NOTES) {
      summary = `more than ${MAX_NOTES} notes; the rest was left out`
      more = { warning: true }
    }
    this.#notes.push({
      diagnostic: {
        severity: more.warning ? 'SEVERITY_WARNING' : 'SEVERITY_NOTE', summary: oneLine(summary, MAX_TITLE),
        detail: clean(more.detail, MAX_MESSAGE), targetPath: clean(more.path, MAX_PATH),
      },
    })
  }

  /** @param {string} name @param {string} mediaType @param {string} path @param {{content?: string | Uint8Array}} [more] */
  artifact(name, mediaType, path, more = {}) {
    if (this.#closed) return
    if (this.#artifacts.has(name)) throw new RangeError(`the artifact "${name}" was reported already`)
    this.#artifacts.add(name)
    const sha256 = more.content === undefined ? '' : createHash('sha256').update(more.content).digest('hex')
    this.#notes.push({
      artifact: { name: clean(name, MAX_TITLE), mediaType: clean(mediaType, MAX_TITLE), path: clean(path, MAX_PATH), sha256 },
    })
  }

  /** @param {number} files @param {number} bytes */
  scanned(files, bytes) {
    this.#files += files
    this.#scanned += bytes
  }

  // What follows is for the kit.

  /** Waits while the host is slow to read. */
  async room() {
    while (this.#ready.length > 0 && !this.#closed && !this.#signal.aborted) {
      await new Promise((go) => this.#waiting.push(() => go(undefined)))
    }
    if (this.#signal.aborted) throw new Cancelled()
  }

  #go() {
    for (const go of this.#waiting.splice(0)) go()
  }

  /** @param {string} reason */
  #incomplete(reason) {
    reason ||= 'some of the target was not scanned'
    if (this.#reasons.length < MAX_REASONS && !this.#reasons.includes(reason)) this.#reasons.push(reason)
  }

  #take() {
    const event = { findings: { findings: this.#batch } }
    this.#batch = []
    this.#bytes = 0
    return event
  }

  get hasReady() {
    return this.#ready.length > 0
  }

  /** One event that must not wait for the clock. */
  ready() {
    const event = this.#ready.shift()
    if (this.#ready.length === 0) this.#go()
    return event
  }

  /** All that waits for the clock, but progress. */
  flush() {
    const events = [...this.#notes.splice(0), ...this.#ready.splice(0)]
    if (this.#batch.length) events.push(this.#take())
    this.#go()
    return events
  }

  /** The progress when it is new, or in any case when asked to. @param {boolean} always */
  latest(always) {
    if (!this.#fresh && !always) return undefined
    this.#fresh = false
    return { progress: this.#progress }
  }

  /** Takes nothing more and gives the totals. */
  end() {
    this.#closed = true
    this.#go()
    const c = { status: 'STATUS_SUCCEEDED', reason: '', retryable: false, findings: 0, filesScanned: this.#files, bytesScanned: this.#scanned }
    if (this.#notApplicable && !this.#found) Object.assign(c, { status: 'STATUS_NOT_APPLICABLE', reason: this.#notApplicable })
    if (this.#reasons.length) Object.assign(c, { status: 'STATUS_PARTIAL', reason: this.#reasons.join('; ') })
    return c
  }
}

/** @param {string} rule @param {import('./index.d.ts').Finding} f */
function finding(rule, f) {
  const at = f.at ?? {}
  /** @type {Record<string, string>} */
  const properties = {}
  for (const k of Object.keys(f.properties ?? {}).sort().slice(0, MAX_PROPERTIES)) {
    properties[clean(k, MAX_TITLE)] = clean(f.properties?.[k], MAX_PROPERTY)
  }
  return {
    ruleId: rule, message: clean(f.message, MAX_MESSAGE), snippet: clean(f.snippet, MAX_SNIPPET),
    severity: f.severity ? `SEVERITY_${f.severity.toUpperCase()}` : 0,
    confidence: f.confidence ? `CONFIDENCE_${f.confidence.toUpperCase()}` : 0,
    identity: (f.identity ?? []).slice(0, MAX_IDENTITY).map((part) => clean(part, MAX_SNIPPET)), properties,
    location: {
      path: clean(at.path, MAX_PATH), url: clean(at.url, MAX_PATH), startLine: place(at.startLine),
      startColumn: place(at.startColumn), endLine: place(at.endLine), endColumn: place(at.endColumn),
    },
  }
}

/** About how much of a message it takes. @param {ReturnType<typeof finding>} f */
function size(f) {
  const texts = [f.ruleId, f.message, f.snippet, f.location.path, f.location.url, ...f.identity, ...Object.entries(f.properties).flat()]
  return texts.reduce((n, s) => n + Buffer.byteLength(s) + 8, 64)
}

/** What cannot be is 0, not known. @param {number | undefined} n */
const place = (n) => (n !== undefined && Number.isInteger(n) && n >= 0 && n < 2 ** 32 ? n : 0)

/** @param {number | undefined} n */
const count = (n) => (n !== undefined && Number.isSafeInteger(n) && n >= 0 ? n : 0)
