// What each rule is for, and what it must leave alone: see sample.py.
import { exec, execFile } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as https from "node:https";
import * as path from "node:path";
import { Request, Response } from "express";
import * as serialize from "node-serialize";

export function ping(req: Request, res: Response): void {
  const host: string = req.query.host as string;
  // ruleid: javascript-command-injection
  exec(`ping ${host}`);
  // ok: javascript-command-injection
  execFile("ping", [host]);
  // ruleid: javascript-xss
  res.send(`<p>${host}</p>`);
  // ok: javascript-xss
  res.json({ host });
}

export async function find(db: Database, name: string): Promise<void> {
  // ruleid: javascript-sql-injection
  await db.query(`SELECT * FROM users WHERE name = '${name}'`);
  // ok: javascript-sql-injection
  await db.query("SELECT * FROM users WHERE name = $1", [name]);
}

export function read(text: string): unknown {
  // ruleid: javascript-code-injection
  eval(text);
  // ok: javascript-code-injection
  eval("1 + 1");
  // ruleid: javascript-unsafe-deserialization
  serialize.unserialize(text);
  // ok: javascript-unsafe-deserialization
  return JSON.parse(text) as unknown;
}

export function digest(data: Buffer, ca: string): https.Agent {
  // ruleid: javascript-weak-crypto
  crypto.createHash("md5").update(data);
  // ok: javascript-weak-crypto
  crypto.createHash("sha256").update(data);
  // ruleid: javascript-tls-unverified
  https.get("https://example.com/", { rejectUnauthorized: false });
  // ok: javascript-tls-unverified
  return new https.Agent({ ca });
}

export async function file(req: Request, res: Response): Promise<void> {
  const name: string = req.query.name as string;
  // ruleid: javascript-path-traversal
  fs.readFileSync(path.join("/srv/files", name));
  // ok: javascript-path-traversal
  fs.readFileSync(path.join("/srv/files", path.basename(name)));
  // ruleid: javascript-ssrf
  await fetch(req.query.url as string);
  // ok: javascript-ssrf
  await fetch("https://example.com/?q=" + encodeURIComponent(name));
}

export function show(element: HTMLElement): void {
  // ruleid: javascript-dom-xss
  element.innerHTML = decodeURIComponent(window.location.hash);
  // ok: javascript-dom-xss
  element.textContent = window.location.hash;
  // ok: javascript-dom-xss
  element.innerHTML = DOMPurify.sanitize(window.location.hash);
}
