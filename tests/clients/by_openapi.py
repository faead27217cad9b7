"""Creates and deletes a store with a client generated from the OpenAPI document, and checks answers against its schemas.

Usage: by_openapi.py BASE_URL OPENAPI.json WORK_DIR STORE   (BASE_URL is `shopctl proxy`'s door, which adds the token)
"""

import importlib
import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jsonschema

DEADLINE_SECONDS = 240


def generate(document, work):
    """Runs the generator as any user of the document would; returns the package."""
    target = pathlib.Path(work) / "client"
    # No formatter is run over what it makes: a missing one would count as a warning.
    config = pathlib.Path(work) / "generator.yaml"
    config.write_text("post_hooks: []\n")
    subprocess.run(
        [str(pathlib.Path(sys.executable).with_name("openapi-python-client")), "generate", "--path", document,
         "--output-path", str(target), "--meta", "none", "--config", str(config), "--fail-on-warning"],
        check=True, timeout=120)
    sys.path.insert(0, str(pathlib.Path(work)))
    return importlib.import_module("client")


class Api:
    """Plain requests, each answer validated against the schema that the document gives for it."""

    def __init__(self, base, document):
        self.base = base.rstrip("/")
        self.document = json.loads(pathlib.Path(document).read_text())

    def schema(self, method, path, status):
        responses = self.document["paths"][path][method]["responses"]
        content = responses[str(status)].get("content", {})
        for media in content.values():
            return media["schema"]
        return None

    def call(self, method, path, body=None, query="", **values):
        url = self.base + path.format(**values) + query
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method.upper(), headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        schema = self.schema(method, path, status)
        value = json.loads(text) if text else None
        if schema is not None:
            whole = {**schema, "components": self.document["components"]}
            jsonschema.Draft202012Validator(whole).validate(value)
        return status, value


def wait_operation(api, operation):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        _, now = api.call("get", "/api/v1/operations/{id}", id=operation["id"])
        if now["state"] in ("succeeded", "failed", "cancelled"):
            if now["state"] != "succeeded":
                raise SystemExit(f"operation ended {now['state']}: {now.get('reason')} {now.get('message')}")
            return now
        time.sleep(0.2)
    raise SystemExit("the operation did not end in time")


def main():
    base, document, work, store = sys.argv[1:5]
    package = generate(document, work)
    api = Api(base, document)
    for path in ("/api/v1/stores", "/api/v1/nodes", "/api/v1/templates", "/api/v1/operations", "/api/v1/status",
                 "/api/v1/tokens", "/api/v1/audit"):
        status, _ = api.call("get", path)
        if status != 200:
            raise SystemExit(f"GET {path} answered {status}")
    status, problem = api.call("post", "/api/v1/stores", {"name": "Not A Name", "template": "nothing"})
    if status not in (400, 422) or len(problem.get("errors", [])) < 2:
        raise SystemExit(f"a bad store was answered with {status} {problem}")

    client = package.Client(base_url=base, raise_on_unexpected_status=True)
    models = importlib.import_module("client.models")
    create = find_create(package)
    body = find_model(models, "CreateStore", "NewStore", "StoreCreate")(name=store, template="refshop")
    answer = create.sync_detailed(client=client, body=body)
    if answer.status_code != 202:
        raise SystemExit(f"the generated client was answered {answer.status_code} {answer.content[:500]}")
    wait_operation(api, json.loads(answer.content))
    status, seen = api.call("get", "/api/v1/stores/{store}", store=store)
    if status != 200 or seen["status"] != "running":
        raise SystemExit(f"{store} is {seen}")
    status, operation = api.call("delete", "/api/v1/stores/{store}", query="?now=true", store=store)
    if status != 202:
        raise SystemExit(f"DELETE answered {status} {operation}")
    wait_operation(api, operation)
    print(f"{store}: created and deleted by a generated client; answers fit their schemas")


def find_create(package):
    """The generated module for POST /api/v1/stores, whatever tag the generator filed it under."""
    root = pathlib.Path(package.__file__).parent / "api"
    for file in sorted(root.glob("*/create_store.py")):
        return importlib.import_module(f"client.api.{file.parent.name}.create_store")
    raise SystemExit(f"the generated client has no create_store: {[str(f) for f in root.rglob('*.py')]}")


def find_model(models, *names):
    for name in names:
        for candidate in (name, f"{name}Request", f"{name}Body"):
            if hasattr(models, candidate):
                return getattr(models, candidate)
    raise SystemExit(f"the generated client has no model among {names}: {dir(models)}")


if __name__ == "__main__":
    main()
