"""What OpenAPI cannot say of the API, for schemathesis."""

import base64
import json
import os
import random
import uuid

import schemathesis
from schemathesis.transport.serialization import Binary

# A file "a" in a tar.gz: what the schema calls binary has to be an archive.
ARCHIVE = Binary(
    base64.b64decode(
        "H4sIAEa9B2sC/+3OywmAMBAE0C3FEiKEpJ604Acs3+hJvCuI711mmctsi+elruR8ZnfPbrzcR19SrTGkF36LdV7a1Cfjn7YAAAAAAAAAAADgi3"
        "YG9t9WACgAAA=="
    )
)
SELF = os.environ["SELF"]
rand = random.Random(1)


@schemathesis.hook
def before_call(context, case, kwargs):
    # Each request comes from an address of its own: who guesses keys is slowed down.
    case.headers["X-Forwarded-For"] = ".".join(str(rand.randint(1, 254)) for _ in range(4))
    # The key that asks must not end.
    if (case.path_parameters or {}).get("id") == SELF:
        case.path_parameters["id"] = str(uuid.UUID(int=rand.getrandbits(128), version=4))
    if case.meta is not None and not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        if "file" in case.body:
            case.body["file"] = ARCHIVE
        # No database keeps NUL, and a token is of the page before.
        if r"\u0000" in json.dumps(case.body.get("options", "")):
            case.body["options"] = {}
        case.body.pop("page_token", None)
    # Another request has another key.
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f'"{rand.getrandbits(128):x}"'
    if isinstance(case.query, dict):
        case.query.pop("page_token", None)
