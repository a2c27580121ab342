"""Secrets with new keys for the object store, as JSON: an identity for each purpose, which may use one bucket only.

python3 deploy/kustomize/components/with-object-store/keys.py | kubectl -n tapeline create -f -
"""

import json
import secrets

IDENTITIES = {
    "object-store": ["Admin"],
    "artifacts": ["Admin:artifacts"],
    "models-read": ["Read:models", "List:models"],
    "models-write": ["Read:models", "List:models", "Write:models"],
    "data": ["Read:data", "List:data"],
}
"""SeaweedFS's actions by identity; each is also the name of the Secret with its keys."""
PLACE = {"AWS_ENDPOINT_URL": "http://object-store:8333", "AWS_DEFAULT_REGION": "us-east-1"}


def made() -> dict[str, object]:
    """A List of Secrets; the store's own one also has the file s3.json, which SeaweedFS reads."""
    keys = {name: (secrets.token_hex(10), secrets.token_hex(20)) for name in IDENTITIES}
    identities = [
        {
            "name": name,
            "actions": actions,
            "credentials": [dict(zip(("accessKey", "secretKey"), keys[name], strict=True))],
        }
        for name, actions in IDENTITIES.items()
    ]
    content = {
        name: {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, **PLACE}
        for name, (access, secret) in keys.items()
    }
    content["object-store"]["s3.json"] = json.dumps({"identities": identities})
    items = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": each}
        for name, each in content.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


if __name__ == "__main__":
    print(json.dumps(made()))
