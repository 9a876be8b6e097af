// A plugin that does what the option "do" says, for the tests of the kit.
import { main, Refuse, ScanError, string, stringList } from 'securetag-sdk'
import { execSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

console.log('printed before main')

/** @type {Record<string, (t: any, out: any) => any>} */
const doing = {
  async many(_, out) {
    for (let i = 0; i < 1234; i++) await out.finding('r', { message: `finding ${i}`, at: { path: 'a.txt', startLine: i + 1 }, snippet: `${i}` })
  },
  async wait(target, out) {
    out.progress({ phase: 'waiting', done: 3, total: 7, unit: 'sheep' })
    for (;;) {
      await target.check()
      await sleep(10)
    }
  },
  async ignore(_, out) {
    out.progress({ phase: 'waiting' })
    for (;;) await sleep(10)
  },
  crash() {
    process.stderr.write('the disk is on fire\n')
    process.exit(7)
  },
  raise() {
    throw new RangeError('no such\nluck')
  },
  retry() {
    throw new ScanError('the server is busy', { retryable: true })
  },
  refuse() {
    throw new Refuse('cannot scan that')
  },
  undeclared: (_, out) => out.finding('nobody', { message: 'x' }),
  partial: (_, out) => out.partial('one was unreadable'),
  artifact(target, out) {
    writeFileSync(join(target.workDir, 'out.json'), '{}')
    out.artifact('out.json', 'application/json', 'out.json', { content: '{}' })
  },
}

await main({
  name: 'probe', version: '1.0.0', consumes: ['tree'],
  config: { words: stringList({ default: ['TODO'], pattern: '^[A-Z]+$', doc: 'What is looked for.' }) },
  options: { do: string() },
  rules: [{ id: 'r', title: 'A rule', severity: 'high' }],
  async scan(config, target, out) {
    console.log('printed in the scan')
    execSync('/bin/echo printed by a child', { stdio: 'inherit' })
    out.log.warn('a warning', { n: 1 })
    if (doing[target.options.do]) return doing[target.options.do](target, out)
    for await (const line of target.lines()) {
      for (const w of config.words) {
        const i = line.text.indexOf(w)
        if (i >= 0) await out.finding('r', { message: `found ${w}`, at: line.at(i, i + w.length), snippet: line.text })
      }
    }
  },
})
