// Keeps standard output for the handshake. Standard output of a plugin that a
// host started has one line, which go-plugin reads: what is printed, before and
// after it, goes to standard error, and so to the host's log. Import the package
// before anything that prints.
import { writeSync } from 'node:fs'

export const COOKIE_KEY = 'SECURETAG_PLUGIN'
export const COOKIE_VALUE = 'be6ae1cdf1b24a1c9b36ea3d0d3b33f2' // no secret, see sdk/wire

/** Whether a host started this process, and not a person. */
export const startedByHost = process.env[COOKIE_KEY] === COOKIE_VALUE

if (startedByHost) {
  // console.log writes there too.
  process.stdout.write = /** @type {any} */ (process.stderr.write.bind(process.stderr))
}

/** @param {string} line */
export function handshake(line) {
  writeSync(1, line + '\n')
}
