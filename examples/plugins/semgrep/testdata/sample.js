// What each rule is for, and what it must leave alone: see sample.py.
const child_process = require("child_process");
const crypto = require("crypto");
const fs = require("fs");
const https = require("https");
const path = require("path");
const serialize = require("node-serialize");
const vm = require("vm");
const express = require("express");

const app = express();

function sql(db, name) {
  // ruleid: javascript-sql-injection
  db.query(`SELECT * FROM users WHERE name = '${name}'`);
  const text = "SELECT * FROM users WHERE name = '" + name + "'";
  // ruleid: javascript-sql-injection
  db.query(text);
  // ok: javascript-sql-injection
  db.query("SELECT * FROM users WHERE name = $1", [name]);
  // ok: javascript-sql-injection
  db.query("SELECT * " + "FROM users");
}

function command(name) {
  // ruleid: javascript-command-injection
  child_process.exec("ping " + name);
  // ruleid: javascript-command-injection
  child_process.execSync(`ping ${name}`);
  // ok: javascript-command-injection
  child_process.execFile("ping", [name]);
  // ok: javascript-command-injection
  child_process.exec("ls | wc -l");
}

function code(text) {
  // ruleid: javascript-code-injection
  eval(text);
  // ruleid: javascript-code-injection
  vm.runInNewContext(text);
  // ok: javascript-code-injection
  eval("1 + 1");
}

function load(text) {
  // ruleid: javascript-unsafe-deserialization
  serialize.unserialize(text);
  // ok: javascript-unsafe-deserialization
  JSON.parse(text);
}

function weak(data, key, iv) {
  // ruleid: javascript-weak-crypto
  crypto.createHash("md5").update(data);
  // ruleid: javascript-weak-crypto
  crypto.createCipheriv("des-ede3", key, iv);
  // ruleid: javascript-weak-crypto
  crypto.createCipheriv("aes-128-ecb", key, iv);
  // ok: javascript-weak-crypto
  crypto.createHash("sha256").update(data);
  // ok: javascript-weak-crypto
  crypto.createCipheriv("aes-256-gcm", key, iv);
  // ruleid: javascript-tls-unverified
  const depot = new https.Agent({ rejectUnauthorized: false });
  // ok: javascript-tls-unverified
  const checked = new https.Agent({ ca: key, rejectUnauthorized: true });
}

app.get("/files", (req, res) => {
  // ruleid: javascript-path-traversal
  fs.readFile("/srv/files/" + req.query.name, () => {});
  // ruleid: javascript-path-traversal
  res.sendFile(path.join("/srv/files", req.query.name));
  // ok: javascript-path-traversal
  res.sendFile(path.join("/srv/files", path.basename(req.query.name)));
});

app.get("/fetch", async (req, res) => {
  // ruleid: javascript-ssrf
  await fetch(req.query.url);
  // ruleid: javascript-ssrf
  https.get(`https://${req.query.host}/`, () => {});
  // ok: javascript-ssrf
  await fetch("https://example.com/?q=" + encodeURIComponent(req.query.q));
});

app.get("/hello", (req, res) => {
  const name = req.query.name;
  // ruleid: javascript-xss
  res.send("<h1>" + name + "</h1>");
  // ruleid: javascript-xss
  res.send(`<h1>${req.params.name}</h1>`);
  // ok: javascript-xss
  res.send("<h1>" + escapeHtml(name) + "</h1>");
  // ok: javascript-xss
  res.json({ name });
});
