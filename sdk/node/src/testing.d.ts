import type { Location, Progress, Scanner } from './index.js'

/** What came of a scan, as the host would get it. */
export interface Result {
  /** "succeeded", "partial", "failed", "not_applicable" */
  status: string
  reason: string
  findings: { ruleId: string; message: string; severity: string | number; snippet: string; location: Required<Location>; identity: string[] }[]
  notes: { severity: string; summary: string; detail: string; targetPath: string }[]
  progress: Progress[]
  /** What was in each when it was reported. */
  artifacts: Record<string, Buffer>
  /** Everything, in order, as it goes over the wire. */
  events: Record<string, any>[]
}

/**
 * Scans a directory or a URL with settings as the host would send them. Throws
 * Mistake for settings or a scanner that a host would refuse.
 */
export function scan(
  scanner: Scanner<any, any>, target: string,
  given?: { config?: Record<string, unknown>; options?: Record<string, unknown> },
): Promise<Result>
