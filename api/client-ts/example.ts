// Uploads an archive to a SecureTag host, waits for the scan and prints what it
// found:
//
//	SECURETAG_API_KEY=stag_... node dist/example.js http://127.0.0.1:8080 app.tar.gz
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { ProblemError, SecureTag } from "./src/index.js"; // "securetag-client" elsewhere

const [server, archive] = process.argv.slice(2);
if (!server || !archive) throw new Error("usage: example SERVER ARCHIVE");
const securetag = new SecureTag({ server, key: process.env.SECURETAG_API_KEY ?? "" });
try {
  const accepted = await securetag.upload(await openAsBlob(archive), { filename: basename(archive) });
  const scan = await securetag.wait(accepted.id);
  for (const job of scan.jobs ?? []) {
    if (job.error) console.log(`${job.plugin} ${job.state}: ${job.error.message}`); // never a clean result
  }
  for await (const f of securetag.findings(scan.id)) {
    console.log(`${f.severity} ${f.rule_id} ${f.location.path}:${f.location.start_line}`);
  }
  process.exitCode = scan.state === "succeeded" ? 0 : 1;
} catch (err) {
  if (!(err instanceof ProblemError)) throw err;
  console.error(`the host refused it (${err.problem?.code}): ${err.message}`);
  process.exitCode = 1;
}
