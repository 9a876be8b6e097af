// The kit as a process, over the wire: Health, Drain, and the death of its host.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { COOKIE_KEY, COOKIE_VALUE } from '../src/early.js'

const PLUGIN = `
import { existsSync } from 'node:fs'
import { main } from '${new URL('../src/index.js', import.meta.url)}'

await main({
  name: 't', version: '1.0.0', consumes: ['tree'], maxConcurrentScans: 2,
  async scan(_, target, out) {
    out.progress('started', 1)
    while (!existsSync(target.workDir + '/end')) await target.check()
  },
})
`
const proto = new URL('../../proto', import.meta.url).pathname
const contract = loadSync('securetag/plugin/v1/scanner.proto', { includeDirs: [proto], longs: Number, enums: String, oneofs: true })
const Client = grpc.makeClientConstructor(/** @type {any} */ (contract['securetag.plugin.v1.Scanner']), 'Scanner')

/** Starts a plugin whose host is a shell, so that it can be killed. @param {import('node:test').TestContext} t */
async function start(t) {
  const dir = mkdtempSync(join(tmpdir(), 'kit-'))
  const plugin = join(dir, 'plugin.mjs')
  writeFileSync(plugin, PLUGIN)
  const host = spawn('/bin/sh', ['-c', '"$0" "$1" & wait', process.execPath, plugin], {
    env: { ...process.env, [COOKIE_KEY]: COOKIE_VALUE, PLUGIN_UNIX_SOCKET_DIR: dir },
    stdio: ['ignore', 'pipe', 'ignore'], detached: true,
  })
  // What the host starts has the pipe too: it ends when the last of them has ended.
  const ended = once(host.stdout, 'close')
  const [line] = await once(createInterface(host.stdout), 'line')
  assert.match(line, /^1\|1\|unix\|.*\|grpc$/)
  /** @type {any} */ const client = new Client('unix:' + line.split('|')[3], grpc.credentials.createInsecure())
  t.after(async () => {
    client.close()
    try {
      process.kill(-(/** @type {number} */ (host.pid)), 'SIGKILL')
    } catch {} // all of it has ended
    await ended
    rmSync(dir, { recursive: true })
  })
  const call = (/** @type {string} */ name, req = {}) =>
    new Promise((done, fail) => client[name](req, (/** @type {any} */ e, /** @type {any} */ resp) => (e ? fail(e) : done(resp))))
  /** Begins a scan, whose first event says that it runs. @param {string} runId */
  const scan = async (runId) => {
    const events = client.scan({ runId, target: { root: dir, displayName: 't' }, workDir: dir })[Symbol.asyncIterator]()
    await events.next()
    return events
  }
  await call('configure', { configJson: Buffer.from('{}') })
  return { dir, host, ended, client, call, scan }
}

test('drain, and health meanwhile', { timeout: 60_000 }, async (t) => {
  const { dir, client, call, scan } = await start(t)
  const stream = client.health({ interval: { seconds: 3600 } }) // what comes sooner is a change
  const updates = stream[Symbol.asyncIterator]()
  const state = async () => {
    const { value } = await updates.next()
    return [value.state, value.activeScans ?? 0]
  }
  assert.deepEqual(await state(), ['STATE_HEALTHY', 0])
  const events = await scan('one')
  assert.deepEqual(await state(), ['STATE_HEALTHY', 1])
  assert.equal((await call('drain')).activeScans, 1)
  assert.deepEqual(await state(), ['STATE_DEGRADED', 1])
  await assert.rejects(scan('two'), { code: grpc.status.UNAVAILABLE })

  // The scan that runs goes on to its own end, and drain waits for it.
  const waiting = call('drain', { grace: { seconds: 60 } })
  writeFileSync(join(dir, 'end'), '')
  let last
  for (let ev = await events.next(); !ev.done; ev = await events.next()) last = ev.value
  assert.equal(last?.completed.status, 'STATUS_SUCCEEDED')
  assert.equal((await waiting).activeScans ?? 0, 0)
  let at
  do at = await state()
  while (at[1] !== 0)
  assert.equal(at[0], 'STATE_DEGRADED')
  stream.on('error', () => {})
  stream.cancel()
})

test('ends by itself when its host is killed', { timeout: 60_000 }, async (t) => {
  const { host, ended, scan } = await start(t)
  const events = await scan('one')
  host.kill('SIGKILL')
  await ended
  await assert.rejects(async () => {
    for (let ev = await events.next(); !ev.done; ev = await events.next());
  })
})
