// For the tests of a scanner: run it on a directory, without a host.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Mistake } from './errors.js'
import { targetOf } from './hand.js'
import { logger } from './log.js'
import { Server } from './server.js'

/** @type {import('./testing.d.ts').scan} */
export async function scan(scanner, where, { config = {}, options = {} } = {}) {
  const server = new Server(scanner, logger(scanner.name))
  const { diagnostics } = server.configure({ configJson: Buffer.from(JSON.stringify(config)) })
  if (diagnostics.length) throw new Mistake(diagnostics.map((d) => d.summary).join('; '))
  const target = targetOf(where)
  if (!target) throw new Error(`${where} is not a directory`)
  const work = mkdtempSync(join(tmpdir(), 'scan-'))
  /** @type {import('./testing.d.ts').Result} */
  const result = { status: '', reason: '', findings: [], notes: [], progress: [], artifacts: {}, events: [] }
  try {
    const run = server.scan({ runId: 'test', attempt: 1, target, workDir: work, identityKey: Buffer.from('sdktest'), optionsJson: Buffer.from(JSON.stringify(options)), limits: null })
    for await (const ev of run.events()) {
      result.events.push(ev)
      result.findings.push(...(ev.findings?.findings ?? []))
      if (ev.diagnostic) result.notes.push(ev.diagnostic)
      if (ev.progress) result.progress.push(ev.progress)
      if (ev.artifact) result.artifacts[ev.artifact.name] = readFileSync(join(work, ev.artifact.path))
      if (ev.completed) {
        result.status = ev.completed.status.replace('STATUS_', '').toLowerCase()
        result.reason = ev.completed.reason
      }
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return result
}
