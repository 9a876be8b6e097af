// What each rule is for, and what it must leave alone: see sample.py.
import { exec, execFile } from "node:child_process";
import { Request, Response } from "express";

export function ping(req: Request, res: Response): void {
  const host: string = req.query.host as string;
  // ruleid: javascript-command-injection
  exec(`ping ${host}`);
  // ok: javascript-command-injection
  execFile("ping", [host]);
  // ruleid: javascript-xss
  res.send(`<p>${host}</p>`);
}

export function show(element: HTMLElement): void {
  // ruleid: javascript-dom-xss
  element.innerHTML = decodeURIComponent(window.location.hash);
  // ok: javascript-dom-xss
  element.textContent = window.location.hash;
  // ok: javascript-dom-xss
  element.innerHTML = DOMPurify.sanitize(window.location.hash);
}
