// What a plugin does that a person runs, not a host.
import { mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Mistake, Refuse, Status } from './errors.js'
import { line, logger } from './log.js'
import { Server } from './server.js'

// Exit codes: as of the host's own scan command.
const [CLEAN, FINDINGS, USAGE, FAILED] = [0, 1, 2, 3]

/** @typedef {{write(text: string): unknown}} Writer */

/**
 * Does what the arguments say. Gives the exit code.
 * @param {import('./index.d.ts').Scanner<any, any>} scanner @param {string[]} args @param {Writer} out @param {Writer} err
 */
export async function execute(scanner, args, out, err) {
  let server
  try {
    server = new Server(scanner, logger(scanner.name, {}, (level, message, fields) => {
      if (level === 'warn' || level === 'error') err.write(line(level, scanner.name, message, fields) + '\n')
    }))
  } catch (e) {
    if (!(e instanceof Mistake)) throw e
    err.write(e.message + '\n')
    return USAGE
  }
  const verb = (args[0] ?? '').replace(/^-+/, '')
  if (verb === 'describe') {
    out.write(JSON.stringify(server.description, (_, v) => (v === '' || v === 0 || v === false || v?.length === 0 ? undefined : v), 2) + '\n')
    return CLEAN
  }
  if (verb === 'scan') return scan(server, args.slice(1), out, err)
  const helped = verb === 'h' || verb === 'help'
  const d = server.description
  ;(helped ? out : err).write(`${d.name} ${d.version} is a SecureTag scanner plugin.
${d.description}

A SecureTag host starts it. By hand it does this much:

  --describe             print its description, settings and ${d.rules.length} rules as JSON
  scan [flags] TARGET    scan a directory or URL and print the findings

      --json             one JSON object a line
      --config JSON      the settings, for example '{"name": 1}'
      --options JSON     the options of this scan
`)
  return helped ? CLEAN : USAGE
}

/** @param {Server} server @param {string[]} args @param {Writer} out @param {Writer} err */
async function scan(server, args, out, err) {
  let flags
  try {
    flags = parseArgs({
      args, allowPositionals: true,
      options: { json: { type: 'boolean' }, config: { type: 'string', default: '{}' }, options: { type: 'string', default: '{}' } },
    })
  } catch (e) {
    err.write(`scan: ${/** @type {Error} */ (e).message}\n`)
    return USAGE
  }
  const [arg] = flags.positionals
  if (flags.positionals.length !== 1) {
    err.write('scan: name one directory or URL\n')
    return USAGE
  }
  const target = targetOf(arg)
  if (!target) {
    err.write(`scan: ${arg} is not a directory\n`)
    return USAGE
  }
  const { diagnostics } = server.configure({ configJson: Buffer.from(String(flags.values.config)) })
  for (const d of diagnostics) err.write(`config: ${d.summary}\n`)
  if (diagnostics.length) return USAGE
  const work = mkdtempSync(join(tmpdir(), 'scan-'))
  try {
    const run = server.scan({
      runId: 'by-hand', attempt: 1, target, workDir: work, optionsJson: Buffer.from(String(flags.values.options)), limits: null,
    })
    process.once('SIGINT', () => run.cancel('interrupted', 5000))
    let completed
    for await (const ev of run.events()) completed = print(server, ev, flags.values.json === true, out, err) ?? completed
    return conclude(completed, err)
  } catch (e) {
    if (!(e instanceof Status) && !(e instanceof Refuse)) throw e
    err.write(`scan: ${e.message}\n`)
    return FAILED
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** @param {string} arg */
export function targetOf(arg) {
  if (/^https?:\/\//.test(arg)) return { kind: 'url', url: arg, displayName: arg }
  if (!statSync(arg, { throwIfNoEntry: false })?.isDirectory()) return null
  return { kind: 'root', root: realpathSync(arg), displayName: arg }
}

/** Takes the place of the host. @param {Server} server @param {any} ev @param {boolean} json @param {Writer} out @param {Writer} err */
function print(server, ev, json, out, err) {
  for (const f of ev.findings?.findings ?? []) {
    const severity = f.severity || server.description.rules.find((r) => r.id === f.ruleId)?.severity || 'SEVERITY_UNKNOWN'
    if (json) {
      out.write(JSON.stringify({ ...f, severity }, (_, v) => (v === '' || v === 0 || v?.length === 0 ? undefined : v)) + '\n')
      continue
    }
    const at = [f.location.path + f.location.url, f.location.startLine, f.location.startColumn].filter(Boolean).join(':')
    out.write(printable(`${at}: ${String(severity).replace('SEVERITY_', '').toLowerCase()} ${f.ruleId}: ${f.message}`) + '\n')
  }
  if (ev.diagnostic) err.write(printable([ev.diagnostic.targetPath, ev.diagnostic.summary].filter(Boolean).join(': ')) + '\n')
  if (ev.artifact) err.write(printable(`artifact ${ev.artifact.name} (${ev.artifact.mediaType})`) + '\n')
  return ev.completed
}

/** @param {any} c @param {Writer} err */
function conclude(c, err) {
  const state = c.status.replace('STATUS_', '').toLowerCase()
  err.write(`${state}: ${c.findings} findings in ${c.filesScanned} files, ${c.bytesScanned} bytes\n`)
  if (c.reason) err.write(printable(c.reason) + '\n')
  if (state !== 'succeeded' && state !== 'not_applicable') return FAILED
  return c.findings > 0 ? FINDINGS : CLEAN
}

/** Keeps text of the target from steering the terminal. @param {string} text */
function printable(text) {
  return text.replace(/[\p{C}\u2028\u2029]/gu, '?')
}
