// One Scan call: the author's code fills an Out, and events sends what is there.
import { Cancelled, Refuse, ScanError } from './errors.js'
import { Out } from './out.js'
import { oneLine } from './text.js'

const FLUSH_EVERY = 200
const PROGRESS_EVERY = 250
const HEARTBEAT = 2000

/** @typedef {Record<string, any>} Event */

export class Run {
  #abort = new AbortController()
  #beat = HEARTBEAT
  #cancelled = '' // why; the first Cancel counts
  #deadline = Infinity // of the grace
  #fault = '' // a violation of the contract by the author
  #done = false
  /** @type {any} */ #error
  #sent = 0
  /** @type {() => void} */ #wake = () => {}

  /** @param {ReturnType<import('./log.js').logger>} log @param {Set<string>} rules @param {any} limits */
  constructor(log, rules, limits) {
    this.log = log
    this.signal = this.#abort.signal
    const silence = milliseconds(limits?.maxSilence)
    if (silence !== undefined) this.#beat = Math.min(HEARTBEAT, Math.max(silence / 3, PROGRESS_EVERY))
    this.out = new Out({
      log, rules, limit: Number(limits?.maxFindings ?? 0), signal: this.signal, wake: () => this.#wake(),
      fail: (why) => {
        this.#fault ||= why
        this.abandon()
      },
    })
  }

  /** Asks the author's code to end within grace. @param {string} reason @param {number} grace in milliseconds */
  cancel(reason, grace) {
    if (this.#cancelled) return
    this.#cancelled = reason || 'the host asked for it'
    this.#deadline = performance.now() + grace
    this.abandon()
    this.#wake()
  }

  /** Makes the author's code end: nobody listens, or it broke the contract. */
  abandon() {
    this.#abort.abort(new Cancelled())
  }

  /** Runs the author's code. @param {() => unknown} scan @param {() => void} ended */
  async work(scan, ended) {
    // Not at once: who asked for the scan must hear that it has begun.
    await new Promise((go) => setImmediate(go))
    try {
      await scan()
    } catch (e) {
      this.#error = e ?? new Error(String(e))
    }
    ended()
    this.#done = true
    this.#wake()
  }

  /** Gives events until the author's code has ended, and then Completed. Throws Refuse. @returns {AsyncGenerator<Event>} */
  async *events() {
    let [flush, progress, beat] = [performance.now() + FLUSH_EVERY, 0, 0]
    for (;;) {
      const now = performance.now()
      for (let ev = this.out.ready(); ev; ev = this.out.ready()) yield this.#count(ev)
      if (now >= flush) {
        flush = now + FLUSH_EVERY
        for (const ev of this.out.flush()) yield this.#count(ev)
      }
      if (now >= progress) {
        progress = now + PROGRESS_EVERY
        const ev = this.out.latest(now >= beat)
        if (ev) {
          beat = now + this.#beat
          yield ev
        }
      }
      if (this.#done || performance.now() >= this.#deadline) break
      await this.#sleep(Math.min(flush, progress, this.#deadline) - performance.now())
    }
    yield* this.#finish(!this.#done)
  }

  /** Waits for the clock, or for what must not wait. @param {number} ms */
  #sleep(ms) {
    if (this.out.hasReady || this.#done) return Promise.resolve()
    return new Promise((go) => {
      const timer = setTimeout(go, Math.max(ms, 1))
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = () => {}
        go(undefined)
      }
    })
  }

  /** @param {Event} ev */
  #count(ev) {
    this.#sent += ev.findings?.findings.length ?? 0
    return ev
  }

  /** @param {boolean} overdue */
  *#finish(overdue) {
    const completed = this.out.end()
    if (this.#error instanceof Refuse && !this.#cancelled) throw this.#error
    for (const ev of this.out.flush()) yield this.#count(ev)
    this.#conclude(completed, overdue)
    completed.findings = this.#sent
    yield { completed }
  }

  /** Sets status and reason. @param {ReturnType<Out['end']>} c @param {boolean} overdue */
  #conclude(c, overdue) {
    const e = overdue ? undefined : this.#error
    if (e && ![Cancelled, ScanError, Refuse].some((known) => e instanceof known) && e.name !== 'AbortError') {
      this.log.error('the scanner threw an error', { stack: e.stack ?? e })
    }
    if (this.#fault) {
      Object.assign(c, { status: 'STATUS_FAILED', reason: this.#fault })
    } else if (this.#cancelled) {
      Object.assign(c, { status: 'STATUS_CANCELLED', reason: `cancelled: ${this.#cancelled}` })
      if (overdue) {
        c.reason += ' (the scanner did not stop in time)'
        this.log.warn('the scanner did not stop within its grace')
      }
    } else if (e instanceof ScanError) {
      Object.assign(c, { status: 'STATUS_FAILED', reason: e.message, retryable: e.retryable })
    } else if (e) {
      Object.assign(c, { status: 'STATUS_FAILED', reason: `the scanner threw ${e.name ?? typeof e}: ${e.message ?? e}` })
    }
    c.reason = oneLine(c.reason, 1 << 10)
    if (!c.reason && c.status !== 'STATUS_SUCCEEDED') c.reason = 'the scanner gave no reason'
  }
}

/** What a google.protobuf.Duration is; undefined when it is not there. @param {any} d @returns {number | undefined} */
export function milliseconds(d) {
  return d ? Math.max(Number(d.seconds) * 1e3 + Number(d.nanos) / 1e6, 0) : undefined
}
