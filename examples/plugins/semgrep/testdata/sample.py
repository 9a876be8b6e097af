# What each rule is for, and what it must leave alone. The comment before a line
# says which: "ruleid" for a finding, "ok" for none.
import asyncio
import hashlib
import html
import os
import pickle
import ssl
import subprocess

import flask
import requests
import yaml
from Crypto.Cipher import AES, DES
from flask import make_response, request
from markupsafe import Markup, escape
from werkzeug.utils import secure_filename

app = flask.Flask(__name__)


def sql(cursor, name):
    # ruleid: python-sql-injection
    cursor.execute("SELECT * FROM users WHERE name = '%s'" % name)
    # ruleid: python-sql-injection
    cursor.execute(f"SELECT * FROM users WHERE name = '{name}'")
    # ruleid: python-sql-injection
    cursor.executemany("DELETE FROM users WHERE name = '{}'".format(name), [])
    query = "SELECT * FROM users WHERE name = '" + name + "'"
    # ruleid: python-sql-injection
    cursor.execute(query)
    # ok: python-sql-injection
    cursor.execute("SELECT * FROM users WHERE name = %s", (name,))
    # ok: python-sql-injection
    cursor.execute("SELECT * " + "FROM users")


def command(name):
    # ruleid: python-command-injection
    os.system("ping " + name)
    # ruleid: python-command-injection
    subprocess.run(f"ping {name}", shell=True)
    # ruleid: python-command-injection
    asyncio.create_subprocess_shell(name)
    # ok: python-command-injection
    subprocess.run(["ping", name])
    # ok: python-command-injection
    subprocess.run("ls | wc -l", shell=True)
    # ok: python-command-injection
    os.system("clear")


def code(text):
    # ruleid: python-code-injection
    eval(text)
    # ok: python-code-injection
    eval("1 + 1")


def load(data):
    # ruleid: python-unsafe-deserialization
    pickle.loads(data)
    # ruleid: python-unsafe-deserialization
    yaml.load(data, Loader=yaml.Loader)
    # ruleid: python-unsafe-deserialization
    yaml.load(data)
    # ok: python-unsafe-deserialization
    yaml.load(data, Loader=yaml.SafeLoader)
    # ok: python-unsafe-deserialization
    yaml.safe_load(data)


def crypto(key, data):
    # ruleid: python-weak-crypto
    hashlib.md5(data)
    # ruleid: python-weak-crypto
    DES.new(key)
    # ruleid: python-weak-crypto
    AES.new(key, AES.MODE_ECB)
    # ruleid: python-tls-unverified
    ssl._create_unverified_context()
    # ruleid: python-tls-unverified
    requests.get("https://example.com/", verify=False)
    # ok: python-tls-unverified
    ssl.create_default_context()
    # ok: python-tls-unverified
    requests.get("https://example.com/", verify="/etc/ca.pem")
    # ok: python-weak-crypto
    hashlib.sha256(data)
    # ok: python-weak-crypto
    hashlib.md5(data, usedforsecurity=False)
    # ok: python-weak-crypto
    AES.new(key, AES.MODE_GCM)


@app.route("/files")
def files():
    name = request.args.get("name")
    # ruleid: python-path-traversal
    open(os.path.join("/srv/files", name))
    # ruleid: python-path-traversal
    flask.send_file("/srv/files/" + name)
    # ok: python-path-traversal
    open(os.path.join("/srv/files", secure_filename(name)))
    # ok: python-path-traversal
    open("/srv/files/index.html")


@app.get("/files/<path:name>")
def named(name):
    # ruleid: python-path-traversal
    return open("/srv/files/" + name).read()


@app.route("/fetch")
def fetch():
    # ruleid: python-ssrf
    requests.get(request.args["url"])
    # ok: python-ssrf
    requests.get("https://example.com/")
    # ok: python-ssrf
    return requests.get("https://example.com/%d" % int(request.args["page"])).text


@app.route("/hello")
def hello():
    name = request.args.get("name", "")
    # ruleid: python-xss
    make_response("<h1>" + name + "</h1>")
    # ruleid: python-xss
    Markup(name)
    # ok: python-xss
    make_response("<h1>" + html.escape(name) + "</h1>")
    if escape:
        # ok: python-xss
        return f"<h1>{escape(name)}</h1>"
    # ruleid: python-xss
    return f"<h1>Hello {name}</h1>"
