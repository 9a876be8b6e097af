// The web site of Parcels: a thin layer over the database and the depot.
const { execFile } = require("child_process");
const crypto = require("crypto");
const fs = require("fs");
const https = require("https");
const net = require("net");
const path = require("path");

const express = require("express");
const helmet = require("helmet");
const { Pool } = require("pg");

const pool = new Pool();
const app = express();
app.use(helmet());
app.use(express.json({ limit: "16kb" }));
app.use(express.static("public"));

// The depot knows the site by this token.
const depotToken = process.env.PARCELS_DEPOT_TOKEN;

// Whom customers may ask about.
const carriers = {
  north: "https://north.parcels.example/status",
  south: "https://south.parcels.example/status",
};

app.get("/parcels/:code", async (req, res) => {
  const found = await pool.query("SELECT * FROM parcels WHERE code = $1", [req.params.code]);
  res.json(found.rows);
});

app.get("/search", (req, res) => {
  res.json({ found: [], query: req.query.q });
});

app.get("/invoices", (req, res) => {
  res.sendFile(path.basename(req.query.file), { root: "/var/lib/parcels/invoices" });
});

app.post("/notes", (req, res) => {
  const file = path.join("/var/lib/parcels/notes", path.basename(req.body.parcel));
  fs.appendFile(file, req.body.text, () => res.end());
});

app.get("/ping", (req, res) => {
  if (!net.isIP(req.query.host)) {
    res.status(400).end();
    return;
  }
  execFile("ping", ["-c", "1", req.query.host], (err, out) => res.type("text").send(out));
});

app.post("/quote", (req, res) => {
  res.json({ price: Number(req.body.weight) * 0.02 + 3.5 });
});

app.post("/cart", (req, res) => {
  res.json({ items: req.body.items.length });
});

app.get("/carrier", (req, res) => {
  const carrier = carriers[req.query.name] ?? carriers.north;
  ask(carrier, res);
});

function ask(carrier, res) {
  https.get(carrier, (answer) => answer.pipe(res));
}

function fingerprint(address) {
  return crypto.createHash("sha256").update(address).digest("hex");
}

function seal(key, text) {
  const nonce = crypto.randomBytes(12);
  const c = crypto.createCipheriv("aes-256-gcm", key, nonce);
  return Buffer.concat([nonce, c.update(text), c.final(), c.getAuthTag()]);
}

const depot = new https.Agent({ ca: fs.readFileSync("/etc/parcels/ca.pem") });

module.exports = { app, depot, depotToken, fingerprint, seal };

if (require.main === module) {
  app.listen(8080);
}
