"""openapi.yaml against the running server: every operation answers what the document says, and nothing is missing."""

import pathlib
import re

import pytest
import yaml

from server import Device

DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "server-api/contract/openapi.yaml"
SPEC = yaml.safe_load(DOCUMENT.read_text())
METHODS = ("get", "post", "put", "delete", "patch")
OPERATIONS = [(path, method, op) for path, item in SPEC["paths"].items() for method, op in item.items() if method in METHODS]


def resolve(node):
    while isinstance(node, dict) and "$ref" in node:
        at = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        node = at
    return node


def conforms(value, schema, where="$"):
    """The part of JSON Schema that the document uses. Raises AssertionError."""
    schema = resolve(schema)
    if "oneOf" in schema:
        errors = []
        for option in schema["oneOf"]:
            try:
                return conforms(value, option, where)
            except AssertionError as e:
                errors.append(str(e))
        raise AssertionError(errors)
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], (where, value)
    if "type" in schema:
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(isinstance(value, kinds[n]) and not (n == "integer" and isinstance(value, bool)) for n in names), (where, value)
    if isinstance(value, str) and "pattern" in schema:
        assert re.search(schema["pattern"], value), (where, value)
    if isinstance(value, dict) and "properties" in schema:
        for key in schema.get("required", ()):
            assert key in value, f"{where}: {key} is missing"
        for key, item in value.items():
            assert key in schema["properties"], f"{where}: {key} is not documented"
            conforms(item, schema["properties"][key], f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for item in value:
            conforms(item, schema["items"], f"{where}[]")


class Walker:
    """Calls operations by their documented path; remembers which answers were seen."""

    def __init__(self, server):
        self.server, self.token, self.seen = server, server.admin_token("walker"), set()
        self.device = Device(server)

    def call(self, method, path, body=None, device=None, certificate=True, token=True, query="", content_type="application/json",
             **params):
        op = SPEC["paths"][path][method]
        target = path
        for name, value in params.items():
            target = target.replace("{%s}" % name, value)
        target += query
        if op["x-listener"] == "admin":
            status, headers, answer = self.server.admin(method.upper(), target, body, token=self.token if token else None,
                                                        content_type=content_type)
        else:
            device = device or self.device
            status, headers, answer = device.call(method.upper(), target, body, certificate=certificate)
        self.check(path, method, op, status, headers, answer)
        return answer

    def check(self, path, method, op, status, headers, answer):
        documented = resolve(op["responses"].get(str(status)))
        assert documented, f"{method} {path}: {status} is not documented: {answer}"
        self.seen.add((path, method, str(status)))
        for name, header in documented.get("headers", {}).items():
            conforms(headers[name], resolve(header)["schema"], name)
        content = documented.get("content")
        if not content:
            assert not answer
            return
        kind = headers.get_content_type()
        assert kind in content, (path, kind)
        if "json" in kind:
            conforms(answer, content[kind]["schema"])


def test_every_operation(server):
    w = Walker(server)
    d = w.device
    w.call("get", "/healthz", certificate=False)
    assert w.call("get", "/openapi.yaml", certificate=False) == DOCUMENT.read_bytes()
    assert server.admin("GET", "/openapi.yaml")[2] == DOCUMENT.read_bytes()
    w.call("get", "/metrics")
    # users
    user = {"login": "bo", "address": "bo@acme.example", "name": "Bo"}
    w.call("post", "/v1/admin/users", user)
    w.call("post", "/v1/admin/users", user)
    w.call("post", "/v1/admin/users", {})
    w.call("post", "/v1/admin/users", "login,address,name\ncy,cy@x,Cy\n", content_type="text/csv")
    w.call("post", "/v1/admin/users", "nonsense", content_type="text/csv")
    w.call("get", "/v1/admin/users")
    w.call("get", "/v1/admin/users", query="?limit=1")
    w.call("get", "/v1/admin/users", query="?limit=0")
    # codes and enrollment
    code = w.call("post", "/v1/admin/enrollment-codes", {"login": "bo", "expires_in": 3600})
    w.call("post", "/v1/admin/enrollment-codes", {"login": "nobody"})
    w.call("post", "/v1/admin/enrollment-codes", {"login": 1})
    w.call("get", "/enroll/{code}", certificate=False, code="x" * 32)
    body = d.enroll_body(code["link"])
    answer = w.call("post", "/v1/enroll", body, certificate=False)
    d.cert.write_text(answer["certificate"])
    d.id = answer["device"]
    w.call("post", "/v1/enroll", body, certificate=False)
    w.call("post", "/v1/enroll", {**body, "code": "x" * 32}, certificate=False)
    w.call("post", "/v1/enroll", {**body, "code": "x"}, certificate=False)
    # profiles
    w.call("post", "/v1/admin/profiles", server.profile())
    w.call("post", "/v1/admin/profiles", server.profile())
    w.call("post", "/v1/admin/profiles", "{")
    w.call("get", "/v1/admin/profiles")
    w.call("get", "/v1/admin/profiles", query="?limit=1")
    w.call("get", "/v1/admin/profiles", query="?after=x")
    w.call("get", "/v1/admin/profiles/{version}", version="latest")
    w.call("get", "/v1/admin/profiles/{version}", version="77")
    # the device
    state = w.call("get", "/v1/device/state")
    w.call("get", "/v1/device/state", query=f"?have={state['tag']}")
    w.call("get", "/v1/device/state", query="?wait=x")
    w.call("post", "/v1/device/report", {"agent_version": "1", "os": "x", "vault": {"driver": "plain", "open": True}})
    w.call("post", "/v1/device/report", {})
    w.call("post", "/v1/device/certificate", {"csr": "x"})
    w.call("post", "/v1/device/certificate", {"csr": d.csr()})
    for _ in range(5):
        w.call("post", "/v1/device/certificate", {"csr": Device(server).csr()})
    w.call("get", "/v1/admin/devices")
    w.call("get", "/v1/admin/devices", query="?limit=x")
    w.call("get", "/v1/admin/devices/{id}", id=d.id)
    w.call("get", "/v1/admin/devices/{id}", id="nothing")
    w.call("delete", "/v1/admin/devices/{id}", id="nothing")
    w.call("delete", "/v1/admin/devices/{id}", id=d.id, query="?abandon=x")
    w.call("delete", "/v1/admin/devices/{id}", id=d.id)
    for kind in ("lock", "unlock"):
        given = w.call("post", "/v1/admin/devices/{id}/orders", {"kind": kind, "reason": "x"}, id=d.id)
        w.call("get", "/v1/admin/orders/{id}", id=given["id"])
        if kind == "unlock":
            w.call("post", "/v1/device/receipts", {"receipt": d.receipt(given["id"], kind=kind)})
        w.call("get", "/v1/admin/devices/{id}", id=d.id)
    # orders
    wish = {"kind": "wipe", "reason": "lost"}
    order = w.call("post", "/v1/admin/devices/{id}/orders", wish, id=d.id)
    w.call("post", "/v1/admin/devices/{id}/orders", wish, id=d.id)
    w.call("post", "/v1/admin/devices/{id}/orders", {"kind": "explode", "reason": "x"}, id=d.id)
    w.call("post", "/v1/admin/devices/{id}/orders", wish, id="nothing")
    w.call("get", "/v1/admin/orders/{id}", id=order["id"])
    w.call("get", "/v1/admin/orders/{id}", id="nothing")
    w.call("get", "/v1/admin/orders/{id}", id=order["id"], query="?wait=x")
    w.call("post", "/v1/device/certificate", {"csr": d.csr()})
    w.call("post", "/v1/device/receipts", {})
    w.call("post", "/v1/device/receipts", {"receipt": d.receipt("nothing")})
    tampered = d.receipt(order["id"])
    tampered["payload"] = tampered["payload"][:-4] + "AAAA"
    w.call("post", "/v1/device/receipts", {"receipt": tampered})
    for _ in range(65):
        if ("/v1/device/receipts", "post", "413") not in w.seen:
            w.call("post", "/v1/device/receipts", {"receipt": d.receipt(order["id"], result="failed")})
    # the receipts of a second device end its wipe
    second = Device(server)
    second.enroll(server.enroll_code("bo"))
    wiped = w.call("post", "/v1/admin/devices/{id}/orders", wish, id=second.id)
    w.call("post", "/v1/device/receipts", {"receipt": second.receipt(wiped["id"])}, device=second)
    w.call("get", "/v1/admin/orders/{id}", id=wiped["id"])
    w.call("get", "/v1/admin/devices/{id}", id=second.id)
    w.call("post", "/v1/admin/devices/{id}/orders", wish, id=second.id)
    w.call("post", "/v1/device/report", {}, device=second)
    w.call("delete", "/v1/admin/devices/{id}", id=second.id)
    w.call("get", "/v1/admin/devices/{id}/receipts", id=second.id)
    w.call("get", "/v1/admin/devices/{id}/receipts", id="nothing")
    # audit and tokens
    w.call("get", "/v1/admin/audit")
    w.call("get", "/v1/admin/audit", query="?limit=2")
    w.call("get", "/v1/admin/audit", query="?after=x")
    w.call("get", "/v1/admin/audit/verify")
    token = w.call("post", "/v1/admin/tokens", {"name": "t"})
    w.call("post", "/v1/admin/tokens", {"name": "t"})
    w.call("post", "/v1/admin/tokens", {})
    w.call("get", "/v1/admin/tokens")
    w.call("get", "/v1/admin/tokens", query="?limit=x")
    w.call("delete", "/v1/admin/tokens/{id}", id=token["id"])
    w.call("delete", "/v1/admin/tokens/{id}", id=token["id"])
    nobody(w)
    foreign(w)
    while ("/v1/enroll", "post", "429") not in w.seen:
        w.call("post", "/v1/enroll", {**body, "code": "x" * 32}, certificate=False)
    documented = {(path, method, status) for path, method, op in OPERATIONS for status in op["responses"]}
    # 503 of /healthz is a store that does not answer
    assert documented - w.seen == {("/healthz", "get", "503")}


def nobody(w):
    """Every operation that documents a scheme, without a credential."""
    for path, method, op in OPERATIONS:
        if op["security"]:
            params = {name: "x" for name in re.findall(r"{(\w+)}", path)}
            w.call(method, path, {} if "requestBody" in op else None, certificate=False, token=False, **params)
            assert (path, method, "401") in w.seen


def foreign(w):
    """Every operation for devices, with a certificate that was replaced by a renewal."""
    old, new = Device(w.server), Device(w.server)
    old.enroll(w.server.enroll_code("bo"))
    new.cert.write_text(old.call("POST", "/v1/device/certificate", {"csr": new.csr()})[2]["certificate"])
    assert new.state()[0] == 200
    for path, method, op in OPERATIONS:
        if op["security"] == [{"device": []}]:
            w.call(method, path, {} if "requestBody" in op else None, device=old)
            assert (path, method, "403") in w.seen


def test_no_route_is_undocumented():
    """The tables of routes in the source, against the document."""
    source = (pathlib.Path(__file__).resolve().parents[3] / "server-api/server/endpoint/routes.c").read_text()
    tables = {name: {(m.lower(), p) for m, p in re.findall(r'{{"([A-Z]+)", "([^"]+)"}', part)}
              for name, part in re.findall(r"app_(device|admin)_routes\[\] = {(.*?)\n};", source, re.S)}
    assert len(tables["device"]) >= 8 and len(tables["admin"]) >= 18
    for listener, routes in tables.items():
        assert routes == {(method, path) for path, method, op in OPERATIONS if op["x-listener"] in (listener, "both")}


@pytest.mark.parametrize("path,method,op", [pytest.param(*o, id=f"{o[1]} {o[0]}") for o in OPERATIONS])
def test_document_is_complete(path, method, op):
    assert op["x-listener"] in ("device", "admin", "both") and op["summary"] and "security" in op
    for response in op["responses"].values():
        assert resolve(response)["description"]
    names = set(re.findall(r"{(\w+)}", path))
    declared = {resolve(p)["name"] for p in SPEC["paths"][path].get("parameters", []) + op.get("parameters", [])
                if resolve(p)["in"] == "path"}
    assert names == declared
