// The kit by itself; internal/kits runs it in the real host.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { bytes, Cancelled, duration, int, parseBytes, parseDuration, redact, Refuse, ScanError, string, stringList } from '../src/index.js'
import { execute } from '../src/hand.js'
import { line } from '../src/log.js'
import { logger } from '../src/log.js'
import { Run } from '../src/run.js'
import { Schema } from '../src/schema.js'
import { scan } from '../src/testing.js'
import { clean, oneLine } from '../src/text.js'

const settings = {
  size: bytes({ default: '1MiB', min: 1, max: '2MiB', doc: 'A size.' }),
  wait: duration({ default: '1m30s', min: '1s' }),
  words: stringList({ default: ['A'], pattern: '^[A-Z]+$' }),
  mode: string({ oneOf: ['fast', 'slow'], default: 'fast' }),
  key: string({ required: true, sensitive: true }),
  n: int({ default: 3 }),
}
const schema = new Schema(settings, (c) => {
  if (c.n === 13) throw new RangeError('13 is bad luck')
})
const decode = (/** @type {unknown} */ v) => schema.decode(Buffer.from(typeof v === 'string' ? v : JSON.stringify(v)))
const none = async () => {}
const scanner = (/** @type {any} */ scanFunc, more = {}) =>
  /** @type {any} */ ({ name: 't', version: '1.0.0', consumes: ['tree'], rules: [{ id: 'r', severity: 'low' }], scan: scanFunc, ...more })

describe('settings', () => {
  test('schema', () => {
    assert.deepEqual(schema.mistakes, [])
    const [size, wait] = schema.attributes
    assert.deepEqual([size.defaultJson, size.min, size.max], ['1048576', 1, 2 ** 21])
    assert.deepEqual([wait.defaultJson, wait.min], ['"1m30s"', 1])
  })
  test('decode', () => {
    const { settings: got, diagnostics } = decode({ key: 'k', size: '1KiB', wait: '2s' })
    assert.deepEqual(diagnostics, [])
    assert.deepEqual(got, { size: 1024, wait: 2000, words: ['A'], mode: 'fast', key: 'k', n: 3 })
  })
  test('every mistake at once', () => {
    const { diagnostics } = decode({ size: '3MiB', wait: 7, words: ['A', 'b'], mode: 'x', n: 1.5, other: 1 })
    assert.deepEqual(diagnostics.map((d) => d.summary), [
      'there is no setting "other"', '"size" must be at most 2MiB', '"wait" must be a duration such as "30s", got a number',
      '"words" must match ^[A-Z]+$', '"mode" must be one of fast, slow', '"key" is required',
      '"n" must be a whole number, got a fraction or a number out of reach',
    ])
    assert.deepEqual(diagnostics.map((d) => d.attributePath).slice(0, 2), [['other'], ['size']])
  })
  test('not an object, and validate', () => {
    for (const raw of ['[]', '{', 'null']) assert.equal(decode(raw).diagnostics[0].summary, 'the settings are not one JSON object')
    assert.deepEqual(decode({ key: 'k', n: 13 }).diagnostics.map((d) => d.summary), ['13 is bad luck'])
  })
})

test('text', () => {
  assert.equal(clean('a\0\ud800é', 100), 'a\ufffd\ufffdé')
  assert.equal(clean('é'.repeat(10), 5), 'éé')
  assert.equal(oneLine(' a\n b ', 10), 'a b')
  assert.deepEqual([redact('x'.repeat(19)), redact('AKIA' + 'x'.repeat(16))], ['****', 'AKIA****'])
  for (const bad of ['', 'x', '1 parsec', '1.5B', '9e30TB']) assert.throws(() => parseBytes(bad), RangeError)
  for (const bad of ['', '5', 's', '1s 2s']) assert.throws(() => parseDuration(bad), RangeError)
  const entry = JSON.parse(line('warn', 't', 'm\n\u2028'.repeat(5000), { n: 1, long: 'é'.repeat(5000) }))
  assert.ok(Object.values(entry).every((v) => typeof v === 'string'))
})

describe('scan', () => {
  /** @type {string} */ let dir
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'kit-'))
    mkdirSync(join(dir, 'b'))
    writeFileSync(join(dir, 'b/c.txt'), 'one\r\ntwo')
    writeFileSync(join(dir, 'a.bin'), '\0')
    writeFileSync(join(dir, 'big'), 'x'.repeat(100))
    symlinkSync('/etc/passwd', join(dir, 'link'))
    symlinkSync('b', join(dir, 'linked'))
    execFileSync('mkfifo', [join(dir, 'pipe')])
  })
  after(() => rmSync(dir, { recursive: true }))

  test('keyed, as in every kit: the HMAC-SHA256 with the key of the request, in hex', async () => {
    let got = ''
    await scan(scanner(async (/** @type {any} */ _, /** @type {any} */ target) => { got = target.keyed('a secret') }), dir)
    assert.equal(got, '9666182164ee187d0ef25443d997a9543a01f69ef0c4155d06a5e2c7397ae91f')
  })
  test('walks, follows no links', async () => {
    /** @type {any[]} */ const seen = []
    const result = await scan(scanner(async (/** @type {any} */ _, /** @type {any} */ target) => {
      for await (const l of target.lines({ maxFileSize: 50 })) seen.push([l.path, l.number, l.text])
      for (const path of ['link', 'linked/c.txt', 'pipe', '../x', '/etc/passwd', 'b']) await assert.rejects(target.read(path), path)
    }), dir)
    assert.deepEqual([result.status, result.reason], ['succeeded', ''])
    assert.deepEqual(seen, [['b/c.txt', 1, 'one'], ['b/c.txt', 2, 'two']])
    assert.deepEqual(result.notes.map((n) => n.summary), ['larger than 50B, not scanned'])
  })
  test('batches', async () => {
    const result = await scan(scanner(async (/** @type {any} */ _, /** @type {any} */ t, /** @type {any} */ out) => {
      for (let i = 0; i < 120; i++) await out.finding('r', { message: 'x'.repeat(9000) })
    }), dir)
    const sizes = result.events.filter((ev) => ev.findings).map((ev) => ev.findings.findings.length)
    assert.equal(sizes.reduce((a, b) => a + b), 120)
    assert.ok(sizes.every((n) => n <= 50))
  })
  test('ends', async (t) => {
    t.mock.method(process.stderr, 'write', () => true)
    for (const [f, status, reason] of /** @type {[any, string, string][]} */ ([
      [() => { throw new RangeError('a\nb') }, 'failed', 'the scanner threw RangeError: a b'],
      [() => { throw new ScanError('no') }, 'failed', 'no'],
      [(/** @type {any} */ c, /** @type {any} */ g, /** @type {any} */ out) => out.notApplicable('no Node'), 'not_applicable', 'no Node'],
      [(/** @type {any} */ c, /** @type {any} */ g, /** @type {any} */ out) => out.finding('q', {}), 'failed', 'the scanner reported a finding by the rule "q", which it does not declare'],
    ])) {
      const result = await scan(scanner(f), dir)
      assert.deepEqual([result.status, result.reason], [status, reason])
    }
    await assert.rejects(scan(scanner(() => { throw new Refuse('never') }), dir), Refuse)
  })
  test('by hand', async () => {
    let out = ''
    const to = { write: (/** @type {string} */ s) => (out += s) }
    const s = scanner(async (/** @type {any} */ _, /** @type {any} */ target, /** @type {any} */ o) => {
      for await (const l of target.lines({ match: (/** @type {string} */ p) => p === 'b/c.txt' })) {
        await o.finding('r', { message: 'it is ' + l.text + '\x1b', at: l.at(0, 1) })
      }
    })
    assert.equal(await execute(s, ['scan', dir], to, { write: () => true }), 1)
    assert.equal(out, 'b/c.txt:1:1: low r: it is one?\nb/c.txt:2:1: low r: it is two?\n')
    assert.equal(await execute(s, ['--describe'], to, to), 0)
    assert.equal(await execute(s, ['scan', '/nowhere'], to, to), 2)
    assert.equal(await execute(scanner(none, { name: 'T' }), ['scan', dir], to, to), 2)
  })
  test('a slow host makes the author wait, a cancel lets it go', async () => {
    const run = new Run(logger('t'), new Set(['r']), null)
    /** @type {unknown} */ let how
    const worked = run.work(async () => {
      try {
        for (let i = 0; i < 1000; i++) await run.out.finding('r', { message: 'x' })
      } catch (e) {
        how = e
      }
    }, () => run.out.log)
    await new Promise((go) => setImmediate(() => setImmediate(go)))
    run.cancel('enough', 60_000)
    await worked
    assert.ok(how instanceof Cancelled)
    let last
    for await (const ev of run.events()) last = ev
    assert.equal(last?.completed.reason, 'cancelled: enough')
    assert.ok(last?.completed.findings <= 100)
  })
})
