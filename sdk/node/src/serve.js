// The plugin's side of go-plugin: handshake, socket, services, and the end.
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { chmodSync, existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { handshake } from './early.js'
import { Mistake, Refuse, Status } from './errors.js'
import { logger } from './log.js'
import { Server } from './server.js'
import { clean, MAX_MESSAGE, oneLine } from './text.js'

const MAX_RECV = 16 << 20 // a request carries settings and options, never a target
const STOP_GRACE = 800 // the host kills a second after it asked
const PARENT_CHECK = 1000

/** Serves until the host stops the plugin or dies. Gives the exit code. @param {import('./index.d.ts').Scanner<any, any>} scanner */
export async function serve(scanner) {
  const log = logger(scanner.name)
  let server
  try {
    checkHost()
    server = new Server(scanner, log)
  } catch (e) {
    if (!(e instanceof Mistake)) throw e
    process.stderr.write(`this plugin cannot be served: ${oneLine(e.message, MAX_MESSAGE)}\n`)
    return 2
  }
  // Outside of a scan there is nothing to fail but the process.
  process.on('uncaughtException', (e) => {
    log.error(`uncaught ${oneLine(e?.message ?? e, 200)}`, { stack: e?.stack })
    process.exit(1)
  })
  /** @type {Promise<string>} */
  const over = new Promise((end) => {
    watchParent(end)
    void listen(server, end, (path) => {
      const multiplex = process.env.PLUGIN_MULTIPLEX_GRPC ? '||false' : ''
      handshake(`1|1|unix|${path}|grpc${multiplex}`)
    })
  })
  server.stop(await over)
  await server.wait(STOP_GRACE)
  return 0
}

/** Refuses what this kit does not do, in words. */
function checkHost() {
  const versions = process.env.PLUGIN_PROTOCOL_VERSIONS ?? '1'
  if (!versions.split(',').includes('1')) throw new Mistake(`it speaks plugin protocol 1, and the host speaks ${versions.slice(0, 40)}`)
  if (process.env.PLUGIN_CLIENT_CERT) {
    throw new Mistake('the host wants TLS (AutoMTLS of go-plugin), which this kit does not speak: switch it off there')
  }
}

/** Ends when the process has another parent: its own has died. @param {(why: string) => void} end */
function watchParent(end) {
  const ppid = process.ppid
  const timer = setInterval(() => process.ppid !== ppid && end('the host is gone'), PARENT_CHECK)
  timer.unref()
}

/** The contract, from the repository or, packed, from the package. */
function contract() {
  const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url))
  const file = 'securetag/plugin/v1/scanner.proto'
  const root = existsSync(join(here('../../proto'), file)) ? here('../../proto') : here('../proto')
  const all = loadSync(file, {
    includeDirs: [root], longs: Number, enums: String, defaults: true, oneofs: true, bytes: Buffer,
  })
  return /** @type {grpc.ServiceDefinition} */ (all['securetag.plugin.v1.Scanner'])
}

// The messages of these services are empty, or have one field: bytes will do.
const raw = { requestSerialize: (/** @type {Buffer} */ b) => b, requestDeserialize: (/** @type {Buffer} */ b) => b,
  responseSerialize: (/** @type {Buffer} */ b) => b, responseDeserialize: (/** @type {Buffer} */ b) => b }
const method = (/** @type {string} */ path, responseStream = false) => ({ path, requestStream: false, responseStream, ...raw })

/** @param {Server} server @param {(why: string) => void} end @param {(path: string) => void} ready */
async function listen(server, end, ready) {
  const wire = new grpc.Server({ 'grpc.max_receive_message_length': MAX_RECV })
  wire.addService(contract(), {
    describe: unary(() => server.description),
    configure: unary((req) => server.configure(req)),
    scan: stream((req, call) => {
      const run = server.scan(req)
      // When nobody listens any more the author's code must end.
      call.on('cancelled', () => run.abandon())
      return run.events()
    }),
    cancel: unary((req) => server.cancel(req)),
    health: stream((req, call) => {
      const gone = new AbortController()
      call.on('cancelled', () => gone.abort())
      return server.health(req, gone.signal)
    }),
    drain: unary((req) => server.drain(req)),
  })
  wire.addService({ Shutdown: method('/plugin.GRPCController/Shutdown') }, {
    Shutdown: (/** @type {any} */ _, /** @type {any} */ answer) => {
      answer(null, Buffer.alloc(0))
      setTimeout(end, 20, 'the host stopped the plugin') // after the answer has gone
    },
  })
  // Held open: what is printed goes to standard error, see early.js.
  wire.addService({ StreamStdio: method('/plugin.GRPCStdio/StreamStdio', true) }, { StreamStdio: () => {} })
  wire.addService({ Check: method('/grpc.health.v1.Health/Check') }, {
    Check: (/** @type {any} */ _, /** @type {any} */ answer) => answer(null, Buffer.from([8, 1])), // SERVING
  })
  const path = join(process.env.PLUGIN_UNIX_SOCKET_DIR || mkdtempSync(join(tmpdir(), 'plugin-')), 's')
  await new Promise((done, fail) => {
    wire.bindAsync(`unix:${path}`, grpc.ServerCredentials.createInsecure(), (e) => (e ? fail(e) : done(undefined)))
  })
  chmodSync(path, 0o600)
  ready(path)
}

/** @param {(req: any) => any} call @returns {grpc.handleUnaryCall<any, any>} */
function unary(call) {
  return (c, answer) => {
    Promise.resolve()
      .then(() => call(c.request))
      .then((resp) => answer(null, resp), (e) => answer(refusal(e)))
  }
}

/** @param {(req: any, call: grpc.ServerWritableStream<any, any>) => AsyncGenerator<any>} begin @returns {grpc.handleServerStreamingCall<any, any>} */
function stream(begin) {
  return async (call) => {
    const gone = new Promise((go) => call.once('cancelled', () => go(undefined)))
    try {
      for await (const ev of begin(call.request, call)) {
        if (call.cancelled) continue // the author's code is still to end
        if (!call.write(ev)) await Promise.race([gone, new Promise((go) => call.once('drain', () => go(undefined)))])
      }
      call.end()
    } catch (e) {
      call.emit('error', refusal(e))
    }
  }
}

/** A gRPC status for an error. @param {any} e */
function refusal(e) {
  const code = e instanceof Status ? e.code : e instanceof Refuse ? grpc.status.INVALID_ARGUMENT : grpc.status.INTERNAL
  return { code, details: clean(e.message, MAX_MESSAGE) || 'the scanner gave no reason' }
}
