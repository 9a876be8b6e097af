/**
 * A typed client of the SecureTag API. The types of every request and answer are
 * generated from the document that hosts serve at /openapi.json; `http` reaches
 * all of them. What needs more than one request has a method of its own.
 */
import createFetchClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";

type Schemas = components["schemas"];
export type Scan = Schemas["Scan"];
export type Finding = Schemas["Finding"];
export type Problem = Schemas["Problem"];

/** An answer of the host that is no success. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  /** Seconds that the host asks to wait before trying again, at most 60; 0 when it does not say. */
  readonly retryAfter: number;

  constructor(
    readonly status: number,
    /** What the host said; left out when something in between answered. */
    readonly problem: Problem | undefined,
    retryAfter: number,
  ) {
    super(problem ? `${problem.title} (${status}): ${problem.detail ?? ""} [request ${problem.request_id}]` : `unexpected answer (${status})`);
    this.retryAfter = retryAfter;
  }
}

export interface Options {
  /** URL of the host, with a path when it is served under one. */
  server: string;
  /** API key. It is sent to that host alone: redirects are refused. */
  key: string;
  /** Sends the requests; default: that of the platform. */
  fetch?: typeof globalThis.fetch;
}

export interface UploadOptions {
  filename?: string;
  project?: string;
  priority?: "high" | "normal" | "low";
  /** Options of the scan type, and by plugin name an object for that plugin. */
  options?: Record<string, unknown>;
  /** Options that nobody is shown, by name. They are removed when the scan has ended. */
  secrets?: Record<string, unknown>;
  signal?: AbortSignal;
}

export interface WaitOptions {
  signal?: AbortSignal;
  /** Called with every answer. */
  onUpdate?: (scan: Scan) => void;
}

/** How often in a row reading fails before wait gives up. */
const attempts = 5;

/** A client of one host with one key. */
export class SecureTag {
  /** Every operation of the API, typed. What is no success is thrown as a ProblemError. */
  readonly http: Client<paths>;

  constructor({ server, key, fetch }: Options) {
    this.http = createFetchClient<paths>({
      baseUrl: server.replace(/\/+$/, ""),
      headers: { Authorization: `Bearer ${key}` },
      redirect: "error",
      ...(fetch && { fetch: (request: Request) => fetch(request) }),
    });
    this.http.use({
      async onResponse({ response }) {
        if (!response.ok) throw await problemOf(response);
      },
    });
  }

  /** Uploads an archive. The scan is accepted and not done: see wait. */
  async upload(archive: Blob, { filename = "archive", signal, ...fields }: UploadOptions = {}): Promise<Scan> {
    const { data } = await this.http.POST("/codeaudit/upload", {
      body: { file: archive, ...fields },
      bodySerializer: (body) => {
        const form = new FormData();
        for (const [name, value] of Object.entries(body)) {
          if (name === "file" || value === undefined) continue;
          if (typeof value === "object") form.append(name, new Blob([JSON.stringify(value)], { type: "application/json" }));
          else form.append(name, String(value));
        }
        form.append("file", body.file, filename);
        return form;
      },
      ...(signal && { signal }),
    });
    return data!;
  }

  /** Waits until a scan has ended, as often as the host asks. A scan that failed is an answer and no error. */
  async wait(id: string, { signal, onUpdate }: WaitOptions = {}): Promise<Scan> {
    for (let failures = 0; ; ) {
      let pause: number;
      try {
        const { data, response } = await this.http.GET("/scans/{id}", { params: { path: { id } }, ...(signal && { signal }) });
        const scan = data!;
        onUpdate?.(scan);
        if (scan.state !== "queued" && scan.state !== "running") return scan;
        failures = 0;
        pause = retryAfter(response) || 1;
      } catch (err) {
        signal?.throwIfAborted();
        if (!temporary(err) || ++failures === attempts) throw err;
        pause = Math.max(err instanceof ProblemError ? err.retryAfter : 0, (0.5 + Math.random()) * 0.1 * 2 ** failures);
      }
      await sleep(pause, signal);
    }
  }

  /** All findings of a scan, a page at a time. */
  async *findings(id: string, { signal, ...query }: { severity?: Finding["severity"]; limit?: number; signal?: AbortSignal } = {}): AsyncGenerator<Finding, void, undefined> {
    for (let token: string | undefined; ; ) {
      const { data } = await this.http.GET("/scans/{id}/findings", {
        params: { path: { id }, query: { ...query, ...(token && { page_token: token }) } },
        ...(signal && { signal }),
      });
      yield* data!.items;
      token = data!.next_page_token;
      if (!token) return;
    }
  }
}

/** Seconds of Retry-After, the only form that hosts send. Capped, so that no answer makes a client sleep for days. */
function retryAfter(response: Response): number {
  const n = Number(response.headers.get("Retry-After") ?? "0");
  return Number.isInteger(n) && n > 0 ? Math.min(n, 60) : 0;
}

async function problemOf(response: Response): Promise<ProblemError> {
  let problem: Problem | undefined;
  if (response.headers.get("Content-Type")?.startsWith("application/problem+json")) {
    problem = await response.json().catch(() => undefined);
  }
  return new ProblemError(response.status, problem, retryAfter(response));
}

/** Whether trying again may help. fetch throws a TypeError when no answer came. */
function temporary(err: unknown): boolean {
  if (err instanceof ProblemError) return err.status === 429 || (err.status >= 500 && err.status !== 501);
  return err instanceof TypeError;
}

function sleep(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
