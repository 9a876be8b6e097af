"""What OpenAPI cannot say of the API, for schemathesis."""

import io
import os
import random
import tarfile
import uuid

import schemathesis


def archive():
    """A tar of one file: what the schema calls binary has to be an archive, and this one is text as well."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    return whole.getvalue().decode("ascii")


ARCHIVE = archive()
SELF = os.environ["SELF"]
rand = random.Random(1)


@schemathesis.hook
def before_call(context, case, kwargs):
    # Each request comes from an address of its own: who guesses keys is slowed down.
    case.headers["X-Forwarded-For"] = ".".join(str(rand.randint(1, 254)) for _ in range(4))
    # The key that asks must not end.
    if (case.path_parameters or {}).get("id") == SELF:
        case.path_parameters["id"] = str(uuid.UUID(int=rand.getrandbits(128), version=4))
    # No name server is asked for names that are made up.
    if case.path.endswith("/verify"):
        case.path_parameters["id"] = str(uuid.UUID(int=rand.getrandbits(128), version=4))
    if case.meta is not None and not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        if "file" in case.body:
            case.body["file"] = ARCHIVE
        if "url" in case.body:
            case.body["url"] = "https://shop.example.com/"
        if "host" in case.body:
            case.body["host"] = f"{rand.getrandbits(64):x}.example.com"
        # A tool's name is printable.
        for run in case.body.get("runs") or []:
            run["tool"]["driver"]["name"] = "tool"
        # Options are by the name of a plugin, and a token is of the page before.
        if "options" in case.body:
            case.body["options"] = {"noop": {}}
        case.body.pop("page_token", None)
        # The secrets of a scan type are those of its plugins.
        if "secrets" in case.body:
            case.body["secrets"] = {"token": "secret"}
        # Plans are those of the configuration.
        if "plan" in case.body:
            case.body["plan"] = "default"
        # A gate for what is new alone needs a severity, and only a risk that is
        # accepted, with a reason, ends at a time to come.
        if isinstance(case.body.get("gate"), dict) and "new_only" in case.body["gate"]:
            case.body["gate"]["fail_on"] = "high"
        if "triage" in case.body:
            case.body.update(triage="accepted_risk", reason="a test")
            if "expires_at" in case.body:
                case.body["expires_at"] = "2999-01-01T00:00:00Z"
    # What a change is based on is of an answer before.
    if case.method == "PATCH" and case.path.split("/")[1] in ("findings", "projects", "webhooks"):
        case.headers["If-Match"] = "*"
    # Another request has another key.
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f'"{rand.getrandbits(128):x}"'
    if isinstance(case.query, dict):
        case.query.pop("page_token", None)
