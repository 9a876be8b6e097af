"""The API of Parcels: customers follow their parcels, the depot moves them."""
import hashlib
import hmac
import os
import shutil
import subprocess
import tempfile

import psycopg
import requests
import yaml
from Crypto.Cipher import AES
from flask import Flask, abort, render_template, request, send_file
from werkzeug.utils import secure_filename

from . import notes, settings

app = Flask(__name__)
app.secret_key = settings.SESSION_SECRET

# Where customers may be told of their parcels.
HOOKS = {
    "shop": "https://shop.example.com/parcels",
    "office": "https://office.example.com/parcels",
}

# What weighs how much: the sales people change it often.
TARIFFS = {"letter": (0.02, 1.5), "box": (0.02, 3.5)}


def database():
    return psycopg.connect(settings.DATABASE)


def staff():
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given, "Bearer " + os.environ["PARCELS_STAFF_TOKEN"]):
        abort(403)


@app.route("/parcels")
def find():
    rows = database().execute("SELECT code, state FROM parcels WHERE code = %s", (request.args["code"],))
    return {"parcels": rows.fetchall()}


@app.route("/parcels", methods=["POST"])
def add():
    sender = request.form["sender"]
    database().execute("INSERT INTO parcels (sender, state) VALUES (%s, 'new')", (sender,))
    return {"sender": sender}, 201


@app.route("/parcels/<code>", methods=["DELETE"])
def remove(code):
    staff()
    database().execute("DELETE FROM parcels WHERE code = %s", (code,))
    return "", 204


@app.route("/parcels/<code>/label", methods=["POST"])
def label(code):
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        subprocess.run(["zint", "--barcode=58", "--data=" + code, "-o", file.name], check=True)
        return send_file(file)


@app.route("/labels")
def stored_label():
    return send_file(os.path.join(settings.LABELS, secure_filename(request.args["file"])))


@app.route("/price")
def price():
    each, base = TARIFFS[request.args["kind"]]
    return {"price": float(request.args["weight"]) * each + base}


@app.route("/carts", methods=["POST"])
def restore_cart():
    return {"items": len(request.get_json()["items"])}


@app.route("/tariffs", methods=["POST"])
def tariffs():
    staff()
    return {"tariffs": list(yaml.safe_load(request.data))}


@app.route("/hooks", methods=["POST"])
def hook():
    to = HOOKS.get(request.form["name"])
    if to is None:
        abort(404)
    return {"known": True}


def tell(name):
    return requests.post(HOOKS[name], timeout=5).status_code


@app.route("/notes")
def note():
    return {"note": notes.read(request.args["parcel"])}


@app.route("/hello")
def hello():
    return render_template("hello.html", name=request.args.get("name", ""))


@app.route("/missing")
def missing():
    return {"missing": request.args["code"]}, 404


def password_hash(password, salt):
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()


def seal(key, address):
    cipher = AES.new(key, AES.MODE_GCM)
    sealed, tag = cipher.encrypt_and_digest(address)
    return cipher.nonce + tag + sealed


def disk_free():
    return shutil.disk_usage(settings.LABELS).free
