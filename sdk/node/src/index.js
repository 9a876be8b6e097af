// SecureTag scanner plugins in Node.js; index.d.ts says what each thing is.
import { startedByHost } from './early.js' // first: it keeps standard output
export { Cancelled, Mistake, Refuse, ScanError } from './errors.js'
export { bool, bytes, duration, float, int, string, stringList, stringMap } from './schema.js'
export { parseBytes, parseDuration, redact } from './text.js'
export { VERSION as version } from './server.js'

/** @type {import('./index.d.ts').defineScanner} */
export const defineScanner = (scanner) => scanner

/** @type {import('./index.d.ts').main} */
export async function main(scanner) {
  if (startedByHost) {
    const { serve } = await import('./serve.js') // by hand there is no gRPC
    // A scan that ignored its cancellation may still run.
    process.exit(await serve(scanner))
  }
  const { execute } = await import('./hand.js')
  process.exitCode = await execute(scanner, process.argv.slice(2), process.stdout, process.stderr)
}
