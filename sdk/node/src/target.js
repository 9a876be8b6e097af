// What one scan looks at. Its files are hostile: whoever uploaded them may have
// made them for this scanner.
import { isUtf8 } from 'node:buffer'
import { createHmac } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, open, readdir, realpath } from 'node:fs/promises'
import { setImmediate as breathe } from 'node:timers/promises'
import { Cancelled } from './errors.js'
import { bytesText } from './text.js'

const MAX_FILE = 1 << 20
const MAX_LINE = 64 << 10
const PROBE = 8000 // bytes looked at for a NUL, as git does
const TURN = 20 // milliseconds until signs of life and cancels get their turn

/** @typedef {import('./out.js').Out} Out */

export class Target {
  #key
  #out
  #turn = performance.now()

  /** @param {{root?: string, url?: string, permittedHosts?: string[], name?: string, workDir?: string, attempt?: number, options?: any, signal: AbortSignal, key?: Uint8Array, out: Out}} t */
  constructor(t) {
    this.root = t.root ?? ''
    this.url = t.url ?? ''
    this.permittedHosts = t.permittedHosts ?? []
    this.name = t.name ?? ''
    this.workDir = t.workDir ?? ''
    this.attempt = t.attempt ?? 1
    this.options = t.options
    this.signal = t.signal
    this.#key = t.key
    this.#out = t.out
  }

  /** @param {string} secret */
  keyed(secret) {
    return this.#key?.length ? createHmac('sha256', this.#key).update(secret).digest('hex') : ''
  }

  async check() {
    if (performance.now() - this.#turn > TURN) {
      await breathe()
      this.#turn = performance.now()
    }
    await this.#out.room() // throws Cancelled
    if (this.signal.aborted) throw new Cancelled()
  }

  /** @param {string} path @param {number} [limit] */
  async read(path, limit = MAX_FILE) {
    if (!this.root) throw new Error('the target is not a tree')
    if (path === '' || path.split('/').some((p) => ['', '.', '..'].includes(p))) throw new Error(`"${path}" is not a path in the target`)
    return readBeneath(this.root, Buffer.from(path), limit)
  }

  /** @param {{skip?: (dir: string) => boolean}} [options] */
  async *files({ skip } = {}) {
    if (!this.root) throw new Error('the target is not a tree')
    const root = this.root
    const stack = [await this.#entries(Buffer.alloc(0))]
    while (stack.length) {
      await this.check()
      const path = stack[stack.length - 1].shift()
      if (!path) {
        stack.pop()
        continue
      }
      const name = path.toString('utf8')
      try {
        const info = await lstat(Buffer.concat([Buffer.from(root + '/'), path]))
        if (info.isDirectory()) {
          if (!skip?.(name)) stack.push(await this.#entries(path))
        } else if (info.isFile()) {
          yield { path: name, size: info.size, read: (limit = MAX_FILE) => readBeneath(root, path, limit) }
        }
      } catch (e) {
        if (e instanceof Cancelled) throw e
        this.unreadable(name, e)
      }
    }
  }

  /** The paths of what is in a directory, in order. @param {Buffer} inside */
  async #entries(inside) {
    try {
      const at = Buffer.concat([Buffer.from(this.root + '/'), inside])
      const names = /** @type {Buffer[]} */ (await readdir(at, { encoding: 'buffer' }))
      const prefix = inside.length ? Buffer.concat([inside, Buffer.from('/')]) : inside
      return names.sort(Buffer.compare).map((n) => Buffer.concat([prefix, n]))
    } catch (e) {
      this.unreadable(inside.toString('utf8') || '.', e)
      return []
    }
  }

  /** @param {string} path @param {unknown} e */
  unreadable(path, e) {
    const err = /** @type {NodeJS.ErrnoException} */ (e)
    this.#out.note(`could not be read: ${err.code ?? err.message}`, { path, warning: true })
    this.#out.partial('some files could not be read')
  }

  /** @param {import('./index.d.ts').LineOptions} [options] */
  async *lines({ maxFileSize = MAX_FILE, maxLine = MAX_LINE, match, skip, binary = false } = {}) {
    let done = 0
    for await (const file of this.files({ skip })) {
      if (match && !match(file.path)) continue
      if (file.size > maxFileSize) {
        this.#out.note(`larger than ${bytesText(maxFileSize)}, not scanned`, { path: file.path, warning: true })
        continue
      }
      let data
      try {
        data = await file.read(maxFileSize)
      } catch (e) {
        this.unreadable(file.path, e)
        continue
      }
      if (binary || !data.subarray(0, PROBE).includes(0)) {
        for (const line of linesOf(file.path, data, maxLine)) {
          await this.check()
          yield line
        }
        this.#out.scanned(1, data.length)
      }
      this.#out.progress({ phase: 'matching', done: ++done, unit: 'files' })
    }
  }
}

/** @param {string} path @param {Buffer} data @param {number} maxLine */
function* linesOf(path, data, maxLine) {
  for (let at = 0, number = 1; at < data.length; number++) {
    const lf = data.indexOf(10, at)
    const next = lf < 0 ? data.length : lf + 1
    let end = lf < 0 ? data.length : lf
    if (lf > at && data[lf - 1] === 13) end--
    const cut = end - at > maxLine
    if (cut) {
      end = at + maxLine
      while (end > at && (data[end] & 0xc0) === 0x80) end-- // a rune is not split
    }
    yield line(path, number, data.subarray(at, end), cut)
    at = next
  }
}

/** @param {string} path @param {number} number @param {Buffer} raw @param {boolean} cut */
function line(path, number, raw, cut) {
  // What is not UTF-8 is read a character a byte, so that columns stay right.
  const encoding = isUtf8(raw) ? 'utf8' : 'latin1'
  const text = raw.toString(encoding)
  const column = (/** @type {number} */ i) => Buffer.byteLength(text.slice(0, i), encoding) + 1
  return {
    path, number, text, cut,
    at: (/** @type {number} */ from, /** @type {number} */ to) =>
      ({ path, startLine: number, startColumn: column(from), endLine: number, endColumn: column(to) }),
  }
}

/**
 * Reads a regular file without following links or waiting for a fifo.
 * @param {string} root @param {Buffer} path @param {number} limit
 */
async function readBeneath(root, path, limit) {
  const slash = path.lastIndexOf('/')
  const dir = Buffer.concat([Buffer.from(root + '/'), path.subarray(0, Math.max(slash, 0))])
  const [realDir, realRoot] = await Promise.all([realpath(dir, 'buffer'), realpath(root, 'buffer')])
  const want = slash < 0 ? realRoot : Buffer.concat([realRoot, Buffer.from('/'), path.subarray(0, slash)])
  if (!realDir.equals(want)) throw new Error('its path goes through a link')
  const full = Buffer.concat([realDir, Buffer.from('/'), path.subarray(slash + 1)])
  const f = await open(full, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const info = await f.stat()
    if (!info.isFile()) throw new Error('not a regular file')
    const data = Buffer.alloc(Math.min(info.size, limit))
    let n = 0
    while (n < data.length) {
      const { bytesRead } = await f.read(data, n, data.length - n, n)
      if (bytesRead === 0) break
      n += bytesRead
    }
    return data.subarray(0, n)
  } finally {
    await f.close()
  }
}
