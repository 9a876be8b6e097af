/**
 * SecureTag scanner plugins in Node.js. A scanner is one function from a target
 * to findings; main() makes a plugin of it that a host starts, and that a person
 * can run by hand:
 *
 *     import { bytes, main, redact } from 'securetag-sdk'
 *
 *     await main({
 *       name: 'aws-keys', version: '0.1.0', consumes: ['tree'],
 *       rules: [{ id: 'aws-key-id', title: 'AWS access key id', severity: 'high' }],
 *       config: { max_file_size: bytes({ default: '1MiB', min: 1, doc: 'Larger files are left out.' }) },
 *       async scan(config, target, out) {
 *         for await (const line of target.lines({ maxFileSize: config.max_file_size })) {
 *           for (const m of line.text.matchAll(/\bAKIA[0-9A-Z]{16}\b/g)) {
 *             await out.finding('aws-key-id', { message: `AWS access key id ${redact(m[0])}`, at: line.at(m.index, m.index + m[0].length) })
 *           }
 *         }
 *       },
 *     })
 *
 * A scan that returns has scanned the whole target, unless out.partial was
 * called. ScanError ends it without a result, Refuse says that the request is
 * wrong, and any other error fails that one scan, with its stack in the log. When
 * the scan is cancelled, target.lines, target.files, target.check and out.finding
 * throw Cancelled: let it pass.
 *
 * Everything runs in one thread. Code that computes for long awaits
 * target.check() now and then, which lets signs of life and cancels through.
 * Import this package before anything that prints.
 */

/** What one setting is; see string(), int(), bytes() and the others. */
export interface Setting<T> { readonly type: string; readonly about: About<unknown>; readonly _value?: T }

export interface About<D> {
  /** One sentence for operators. */
  doc?: string
  /** When it is not given; without it the type's zero. */
  default?: D
  required?: boolean
  /** Never shown or logged. */
  sensitive?: boolean
  /** What to use instead, for people. */
  deprecated?: string
}
export interface Bounds<B> { /** Inclusive. */ min?: B; /** Inclusive. */ max?: B }
export interface Texts {
  /** The only values. */
  oneOf?: string[]
  /** RE2, unanchored: keep to what JavaScript shares with it. */
  pattern?: string
}

export function string(about?: About<string> & Texts): Setting<string>
export function int(about?: About<number> & Bounds<number>): Setting<number>
export function float(about?: About<number> & Bounds<number>): Setting<number>
export function bool(about?: About<boolean>): Setting<boolean>
/** A duration such as "30s"; the scan gets milliseconds. */
export function duration(about?: About<string> & Bounds<string>): Setting<number>
/** A size such as "10MiB"; the scan gets bytes. */
export function bytes(about?: About<number | string> & Bounds<number | string>): Setting<number>
export function stringList(about?: About<string[]> & Texts): Setting<string[]>
export function stringMap(about?: About<Record<string, string>>): Setting<Record<string, string>>

export type Settings = Record<string, Setting<any>>
export type Values<S extends Settings> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never }
export type Severity = 'info' | 'low' | 'medium' | 'high' | 'critical'
export type Confidence = 'low' | 'medium' | 'high'

/** One kind of problem that the plugin can find. */
export interface Rule {
  /** Unique, stable across versions, at most 256 bytes. */
  id: string
  /** One line. */
  title?: string
  description?: string
  recommendation?: string
  /** Of a finding that gives none. */
  severity?: Severity
  /** https */
  helpUrl?: string
  cwe?: number[]
  tags?: string[]
}

/** A plugin: what it is called, what it takes, and how it scans. */
export interface Scanner<C extends Settings = {}, O extends Settings = {}> {
  /** ^[a-z][a-z0-9-]{0,62}$ */
  name: string
  /** Of the plugin: MAJOR.MINOR.PATCH. */
  version: string
  description?: string
  vendor?: string
  /** SPDX expression. */
  license?: string
  consumes: ('tree' | 'url')[]
  rules?: Rule[]
  /** What it needs of the machine. The host gives nothing that is not asked for. memory is in bytes; 0, or none: the host's default. */
  needs?: { network?: boolean; spawnsProcesses?: boolean; memory?: number }
  /** How many scans one process takes at once; 1 when not given. */
  maxConcurrentScans?: number
  /** What the operator may set, by names in snake case. */
  config?: C
  /** What one request may say: target.options. */
  options?: O
  /** Checks settings further; throws RangeError. */
  validate?(config: Values<C>): void
  /** Scans one target. It may run concurrently with itself. */
  scan(config: Values<C>, target: Target<Values<O>>, out: Out): Promise<void> | void
}

/** A place in the tree or on the web. 1-based; columns count bytes, endColumn is one past the last. */
export interface Location { path?: string; startLine?: number; startColumn?: number; endLine?: number; endColumn?: number; url?: string }

export interface Finding {
  /** What is wrong here; plain text. */
  message: string
  at?: Location
  severity?: Severity
  confidence?: Confidence
  /** The text that shows it, at most 2 KiB. Redact secrets. */
  snippet?: string
  /** What stays the same when lines move, at most 16 parts of 2 KiB; without it the snippet. Never a secret. */
  identity?: string[]
  /** Further facts, for programs: at most 32, of 1 KiB each. */
  properties?: Record<string, string>
}

export interface Progress { phase: string; done?: number; total?: number; unit?: string; message?: string }

/** Takes what a scan has to say. After the scan has ended its methods do nothing. */
export interface Out {
  /** Of this scan; it goes to the operator, not to the tenant. */
  readonly log: Log
  /** Reports a finding by a declared rule. It is sent within 200 ms. Await it: it waits while the host is slow. */
  finding(rule: string, finding: Finding): Promise<void>
  /** Replaces the last progress. It is sent at most four times a second. */
  progress(progress: Progress): void
  /** Marks the result as good but incomplete, and says why in one line. */
  partial(reason: string): void
  /** Says that nothing in the target is for this plugin, and why; then return. */
  notApplicable(reason: string): void
  /** Tells the operator something about the target. At most 1000 are kept. */
  note(summary: string, more?: { path?: string; detail?: string; warning?: boolean }): void
  /** Hands over a file that the scan made; path is relative to target.workDir. It is complete and not changed any more. */
  artifact(name: string, mediaType: string, path: string, more?: { content?: string | Uint8Array }): void
  /** Adds to the numbers of files and bytes that were looked at. */
  scanned(files: number, bytes: number): void
}

export interface Log {
  debug(message: unknown, fields?: Record<string, unknown>): void
  info(message: unknown, fields?: Record<string, unknown>): void
  warn(message: unknown, fields?: Record<string, unknown>): void
  error(message: unknown, fields?: Record<string, unknown>): void
}

export interface LineOptions {
  /** Larger files are noted and left out; 1 MiB. */
  maxFileSize?: number
  /** Longer lines are cut; 64 KiB. */
  maxLine?: number
  match?(path: string): boolean
  /** Directories that are left out. */
  skip?(dir: string): boolean
  /** Also files with a NUL in their first bytes. */
  binary?: boolean
}

/** One line of a text file. Where it is not UTF-8, its text has a character for each byte. */
export interface Line {
  path: string
  /** 1-based */
  number: number
  /** Without its line end. */
  text: string
  /** The line was longer. */
  cut: boolean
  /** The place of text.slice(from, to). */
  at(from: number, to: number): Location
}

/** A regular file of the tree. */
export interface File { path: string; size: number; /** Gives at most limit bytes; 1 MiB. */ read(limit?: number): Promise<Buffer> }

/** What one scan looks at. Its files are hostile. */
export interface Target<O = unknown> {
  /** Absolute path of the read-only tree, "" for a URL; prefer files and read, which follow no links. */
  readonly root: string
  /** "" for a tree. */
  readonly url: string
  /** The only hosts that the scan of a URL may call, as permitted_hosts of the contract says; empty: the host does not say. */
  readonly permittedHosts: string[]
  /** What people call it; never a path to open. */
  readonly name: string
  /** Private, writable, empty, removed after the scan. */
  readonly workDir: string
  /** 1 for the first try. */
  readonly attempt: number
  readonly options: O
  /** Aborted when the scan must stop. */
  readonly signal: AbortSignal
  /** What stands for a secret in Finding.identity: a hash with a key that the host keeps. "" when the host compares no scans. */
  keyed(secret: string): string
  /** Lets others have a turn; throws Cancelled when the scan must stop. */
  check(): Promise<void>
  /** Reads one regular file by its relative path: at most limit bytes, 1 MiB. */
  read(path: string, limit?: number): Promise<Buffer>
  /** Walks the regular files in the order of their paths. What cannot be read makes the result partial. */
  files(options?: { skip?(dir: string): boolean }): AsyncGenerator<File, void>
  /** Every line of every text file, in order, with progress. */
  lines(options?: LineOptions): AsyncGenerator<Line, void>
}

/** Ends a scan without a result; the reason is for people. */
export class ScanError extends Error { constructor(reason: string, options?: { /** Trying again may help. */ retryable?: boolean }); readonly retryable: boolean }
/** Refuses a scan whose request is wrong. The host does not try again. */
export class Refuse extends Error { constructor(reason: string) }
/** Thrown in a scan that was cancelled. Let it pass. */
export class Cancelled extends Error { constructor() }
/** What the author of a plugin got wrong, all of it. */
export class Mistake extends Error { constructor(text: string) }

/** Makes a secret fit to be shown: "AKIA****". */
export function redact(secret: string): string
/** Reads "512", "64KiB", "1.5 MB". */
export function parseBytes(text: string): number
/** Reads "1h30m", "250ms"; gives milliseconds. */
export function parseDuration(text: string): number
/** Of this kit. */
export const version: string
/** Gives a scanner its types, for one that is exported. */
export function defineScanner<C extends Settings = {}, O extends Settings = {}>(scanner: Scanner<C, O>): Scanner<C, O>
/** Is the plugin: all that its main does. */
export function main<C extends Settings = {}, O extends Settings = {}>(scanner: Scanner<C, O>): Promise<void>
