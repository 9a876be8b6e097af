// Runs against the host that SECURETAG_SERVER_URL names, with an archive in
// ARCHIVE in which there are two secrets. internal/doctest starts it.
import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { ProblemError, SecureTag, type Finding, type Scan } from "../src/index.js";

const env = (name: string): string => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
};
const server = env("SECURETAG_SERVER_URL");
const key = env("SECURETAG_API_KEY");

/** A host of the test's own. */
async function fake(t: TestContext, listener: RequestListener): Promise<SecureTag> {
  const s = createServer(listener);
  await new Promise<void>((resolve) => s.listen(0, "127.0.0.1", resolve));
  t.after(() => s.close());
  return new SecureTag({ server: `http://127.0.0.1:${(s.address() as AddressInfo).port}/`, key });
}

test("an upload, its scan and its findings", async () => {
  const client = new SecureTag({ server: server + "/", key });
  const seen: Scan["state"][] = [];
  const accepted = await client.upload(await openAsBlob(env("ARCHIVE")), { filename: "a b.tar.gz", project: "ts", priority: "high" });
  assert.equal(accepted.project, "ts");
  assert.equal(accepted.archive?.filename, "a b.tar.gz");
  const scan = await client.wait(accepted.id, { onUpdate: (s) => seen.push(s.state) });
  assert.equal(scan.state, "succeeded");
  assert.equal(seen.at(-1), "succeeded");
  assert.ok(scan.jobs?.every((j) => j.state === "succeeded"));
  assert.equal(scan.jobs?.find((j) => j.plugin === "secrets")?.counts.high, 2);
  assert.ok(scan.jobs?.find((j) => j.plugin === "gosec")?.not_applicable);
  const found: Finding[] = [];
  for await (const f of client.findings(scan.id, { limit: 1, severity: "high" })) found.push(f); // a page for each
  assert.deepEqual(found.map((f) => f.location?.path).sort(), ["a.ini", "b.ini"]);

  const { data } = await client.http.GET("/scans", { params: { query: { project: "ts" } } });
  assert.deepEqual(data?.items.map((s) => s.id), [scan.id]);
  const report = await client.http.GET("/scans/{id}/report", { params: { path: { id: scan.id }, query: { format: "sarif" } } });
  assert.equal((report.data as { version?: string }).version, "2.1.0");
});

test("what the host refuses is thrown", async () => {
  const unknown = new SecureTag({ server, key: key + "x" });
  await assert.rejects(unknown.http.GET("/usage"), (err) => {
    assert(err instanceof ProblemError);
    assert.equal(err.status, 401);
    assert.equal(err.problem?.code, "unauthorized");
    assert(!err.message.includes(key));
    return true;
  });
  const client = new SecureTag({ server, key });
  await assert.rejects(client.upload(new Blob(["no archive"])), (err) => err instanceof ProblemError && err.status >= 415);
  await assert.rejects(client.upload(new Blob(["x"]), { options: { nobody: 1 } }), ProblemError);
  await assert.rejects(client.upload(new Blob(["x"]), { secrets: { nobody: "1" } }), (err) => {
    assert(err instanceof ProblemError);
    assert.equal(err.problem?.errors?.[0]?.pointer, "form.secrets/nobody");
    return true;
  });
});

test("waiting outlives a host that is away, and ends with its signal", async (t) => {
  let asked = 0;
  const client = await fake(t, (req, res) => {
    assert.equal(req.headers.authorization, `Bearer ${key}`);
    switch (asked++) {
      case 0:
        return res.writeHead(503, { "Content-Type": "text/plain" }).end("a proxy");
      case 1:
        return req.socket.destroy();
      case 2:
        return res.writeHead(200, { "Content-Type": "application/json" }).end('{"id":"x","state":"partial"}');
      default:
        return res.writeHead(200, { "Content-Type": "application/json", "Retry-After": "9" }).end('{"id":"x","state":"running"}');
    }
  });
  assert.equal((await client.wait("x")).state, "partial");
  const stop = new AbortController();
  await assert.rejects(client.wait("x", { signal: stop.signal, onUpdate: () => stop.abort(new Error("enough")) }), /enough/);
  assert.equal(asked, 4);
});

test("the key follows no redirect", async (t) => {
  let reached = false;
  const other = createServer(() => (reached = true));
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  t.after(() => other.close());
  const client = await fake(t, (_, res) => {
    res.writeHead(307, { Location: `http://127.0.0.1:${(other.address() as AddressInfo).port}/` }).end();
  });
  await assert.rejects(client.http.GET("/usage"));
  assert.equal(reached, false);
});

// What the compiler must refuse; this is never run.
export async function wrong(client: SecureTag) {
  // @ts-expect-error there is no such path
  await client.http.GET("/scan");
  // @ts-expect-error a parameter that it does not take
  await client.http.GET("/scans", { params: { query: { colour: "red" } } });
  // @ts-expect-error it is no format
  await client.http.GET("/scans/{id}/report", { params: { path: { id: "x" }, query: { format: "xml" } } });
  // @ts-expect-error a file is no string
  await client.http.POST("/codeaudit/upload", { body: { file: "a.zip" } });
  // @ts-expect-error it is no state of a scan
  return (await client.wait("x")).state === "done";
}
