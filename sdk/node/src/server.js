// The methods of the contract, over one scanner, without a wire.
import { EventEmitter, on } from 'node:events'
import { statSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { Mistake, Status } from './errors.js'
import { milliseconds, Run } from './run.js'
import { Schema } from './schema.js'
import { Target } from './target.js'
import { clean, MAX_MESSAGE, MAX_TITLE, oneLine } from './text.js'

export const VERSION = '0.1.0' // of this kit, as plugins report it; package.json has the same

// Of gRPC; the numbers are its own.
const INVALID_ARGUMENT = 3
const RESOURCE_EXHAUSTED = 8
const FAILED_PRECONDITION = 9
const INTERNAL = 13
const UNAVAILABLE = 14

const GRACE = 5000
const INTERVAL = 10_000
const MIN_INTERVAL = 100
const MAX_RULES = 10_000
const MAX_RULE_ID = 256
const NAME = /^[a-z][a-z0-9-]{0,62}$/
const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?$/
const INPUTS = { tree: 'INPUT_TREE', url: 'INPUT_URL' }
const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical']

/** @typedef {import('./index.d.ts').Scanner<any, any>} Scanner */

export class Server {
  #scanner
  #log
  #config
  #options
  #rules
  /** @type {any} */ #settings
  #configured = false
  /** @type {Map<string, Run>} */ #runs = new Map() // whose author's code has not returned
  #draining = false
  #stopping = false
  #changed = new EventEmitter()

  /** The errors of its construction are the author's. @param {Scanner} scanner @param {ReturnType<import('./log.js').logger>} log */
  constructor(scanner, log) {
    this.#scanner = scanner
    this.#log = log
    this.#config = new Schema(scanner.config ?? {}, scanner.validate)
    this.#options = new Schema(scanner.options ?? {}, undefined)
    const wrong = [...mistakes(scanner), ...this.#config.mistakes, ...this.#options.mistakes]
    if (wrong.length) throw new Mistake(`scanner "${scanner.name}": ${wrong.join('; ')}`)
    this.#rules = new Set(scanner.rules?.map((r) => r.id))
    this.description = { ...describe(scanner), configSchema: this.#config.block(), optionsSchema: scanner.options ? this.#options.block() : null }
    this.#changed.setMaxListeners(0)
  }

  /** @param {any} req */
  configure(req) {
    let read
    try {
      read = this.#config.decode(req.configJson)
    } catch (e) {
      const err = /** @type {Error} */ (e)
      this.#log.error('checking the settings threw an error', { stack: err.stack })
      throw new Status(INTERNAL, `checking the settings threw ${err.name}: ${oneLine(err.message, MAX_TITLE)}`)
    }
    if (read.diagnostics.length === 0 && !req.validateOnly) {
      this.#settings = read.settings
      this.#configured = true
    }
    return { diagnostics: read.diagnostics }
  }

  /** Starts a run; its events are to be read. @param {any} req */
  scan(req) {
    const id = req.runId
    const run = new Run(this.#log.with({ run: id.slice(0, 64) }), this.#rules, req.limits)
    const target = this.#target(req, run)
    if (this.#draining) throw new Status(UNAVAILABLE, 'the plugin is draining')
    if (!this.#configured) throw new Status(FAILED_PRECONDITION, 'the plugin is not configured: call Configure first')
    if (this.#runs.has(id)) throw new Status(INVALID_ARGUMENT, `the run "${id.slice(0, 64)}" is going on already`)
    const limit = this.#scanner.maxConcurrentScans ?? 1
    if (this.#runs.size >= limit) throw new Status(RESOURCE_EXHAUSTED, `${this.#runs.size} of ${limit} scans are running`)
    this.#runs.set(id, run)
    this.#changed.emit('change')
    const settings = this.#settings
    // The slot is free before the host can hear of the end, so that its next
    // scan is not refused.
    void run.work(() => this.#scanner.scan(settings, target, run.out), () => {
      this.#runs.delete(id)
      this.#changed.emit('change')
    })
    return run
  }

  /** @param {any} req @param {Run} run */
  #target(req, run) {
    if (!req.runId) throw new Status(INVALID_ARGUMENT, 'run_id is empty')
    const { settings: options, diagnostics } = this.#options.decode(req.optionsJson)
    if (diagnostics.length) throw new Status(INVALID_ARGUMENT, 'options: ' + diagnostics.map((d) => d.summary).join('\n'))
    const { kind, root, url, displayName } = req.target ?? {}
    if (kind === 'root') {
      if (!this.#scanner.consumes.includes('tree')) throw new Status(INVALID_ARGUMENT, 'this scanner takes no tree')
      if (!isAbsolute(root)) throw new Status(INVALID_ARGUMENT, 'target.root is not an absolute path')
      if (!statSync(root, { throwIfNoEntry: false })?.isDirectory()) throw new Status(INVALID_ARGUMENT, 'open the target: there is no such directory')
    } else if (kind === 'url') {
      if (!this.#scanner.consumes.includes('url')) throw new Status(INVALID_ARGUMENT, 'this scanner takes no URL')
    } else {
      throw new Status(INVALID_ARGUMENT, 'the request names no target that this scanner knows')
    }
    return new Target({ root, url, permittedHosts: req.permittedHosts, name: displayName, workDir: req.workDir, attempt: req.attempt, options, signal: run.signal, key: req.identityKey, out: run.out })
  }

  /** @param {any} req */
  cancel(req) {
    const run = this.#runs.get(req.runId)
    run?.cancel(oneLine(req.reason, MAX_TITLE), milliseconds(req.grace) ?? GRACE)
    return { known: run !== undefined }
  }

  /** The plugin's state, on every change and at least once an interval. @param {any} req @param {AbortSignal} signal */
  async *health(req, signal) {
    const every = Math.max(milliseconds(req.interval) ?? INTERVAL, MIN_INTERVAL)
    const tick = setInterval(() => this.#changed.emit('change'), every)
    try {
      const changes = on(this.#changed, 'change', { signal })
      do {
        yield {
          state: this.#draining ? 'STATE_DEGRADED' : 'STATE_HEALTHY', activeScans: this.#runs.size,
          description: this.#draining ? 'draining: no new scans' : '',
        }
        await changes.next()
      } while (!this.#stopping)
    } catch (e) {
      if (!signal.aborted) throw e
    } finally {
      clearInterval(tick)
    }
  }

  /** @param {any} req */
  async drain(req) {
    this.#draining = true
    this.#changed.emit('change')
    return { activeScans: await this.wait(milliseconds(req.grace) ?? 0) }
  }

  /** Ends when no scan runs any more or the time is over, with how many do. @param {number} ms */
  async wait(ms) {
    const signal = AbortSignal.timeout(ms)
    const over = new Promise((go) => signal.addEventListener('abort', () => go(undefined)))
    while (this.#runs.size > 0 && !signal.aborted) {
      await Promise.race([over, new Promise((go) => this.#changed.once('change', go))])
    }
    return this.#runs.size
  }

  /** Cancels every run and ends the health streams. @param {string} reason */
  stop(reason) {
    this.#stopping = true
    for (const run of this.#runs.values()) run.cancel(reason, 0)
    this.#changed.emit('change')
  }
}

/** What the author got wrong, all of it. @param {Scanner} s */
function mistakes(s) {
  const bad = []
  if (!NAME.test(s.name ?? '')) bad.push(`name "${s.name}" must be lower-case letters, digits and dashes, and start with a letter`)
  if (!SEMVER.test(s.version ?? '')) bad.push(`version "${s.version}" must be a semantic version such as 1.2.3`)
  if (!s.consumes?.length) bad.push('consumes is empty: name what is scanned, for example ["tree"]')
  for (const c of s.consumes ?? []) if (!(c in INPUTS)) bad.push(`consumes has "${c}", which is neither "tree" nor "url"`)
  if (typeof s.scan !== 'function') bad.push('scan is no function')
  if (!((s.maxConcurrentScans ?? 1) >= 1)) bad.push(`maxConcurrentScans is ${s.maxConcurrentScans}`)
  if ((s.rules?.length ?? 0) > MAX_RULES) bad.push(`${s.rules?.length} rules; at most ${MAX_RULES}`)
  const seen = new Set()
  for (const r of s.rules ?? []) {
    if (!r.id || Buffer.byteLength(r.id) > MAX_RULE_ID) bad.push(`rule id "${String(r.id).slice(0, 40)}" must have 1 to ${MAX_RULE_ID} bytes`)
    else if (seen.has(r.id)) bad.push(`rule "${r.id}" is declared twice`)
    if (r.severity && !SEVERITIES.includes(r.severity)) bad.push(`rule "${r.id}": severity "${r.severity}" is none of ${SEVERITIES.join(', ')}`)
    seen.add(r.id)
  }
  return bad
}

/** The answer to Describe, less the schemas. @param {Scanner} s */
function describe(s) {
  return {
    name: s.name, version: s.version, description: clean(s.description, MAX_MESSAGE), vendor: s.vendor ?? '', license: s.license ?? '',
    sdk: `node/${VERSION}`, apiVersions: [1], features: [], consumes: s.consumes.map((c) => INPUTS[c]),
    rules: (s.rules ?? []).map((r) => ({
      id: r.id, title: clean(r.title, MAX_TITLE), description: clean(r.description, MAX_MESSAGE),
      recommendation: clean(r.recommendation, MAX_MESSAGE), severity: r.severity ? `SEVERITY_${r.severity.toUpperCase()}` : 0,
      helpUri: r.helpUrl ?? '', cwe: r.cwe ?? [], tags: r.tags ?? [],
    })),
    requirements: {
      network: s.needs?.network ? 'NETWORK_EGRESS' : 'NETWORK_NONE', spawnsProcesses: s.needs?.spawnsProcesses === true,
      memoryBytes: s.needs?.memory ?? 0,
    },
    maxConcurrentScans: s.maxConcurrentScans ?? 1,
  }
}
