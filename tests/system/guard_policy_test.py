"""`retort-guard` as an operator sets it up: TLS on both sides, networks, resellers, lists, verification, a policy tried on what was
recorded, erasure, rotation of the sealing key."""

import hashlib
import hmac
import http.client
import json
import pathlib
import ssl
import subprocess
import threading
import time

from guard import Guard, add_account, json_of, run_guard
from program import Scenarios, scratch
from scripted_upstream import CHAT_TEXT, ScriptedUpstream

CHAT = {"model": "small", "messages": [{"role": "user", "content": "What is two and two?"}], "max_tokens": 50}
GUARD_YAML = """
listen: 127.0.0.1:0
tls: {{certificate: guard.pem, key: guard.key}}
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
upstreams: [{{name: openai, url: "{url}", authorities: {authorities}}}]
evidence: {{path: evidence, prompts: whole, required: true}}
sealing: {{keys: sealing.json}}
network:
  lists: [{{kind: vpn, path: vpn.txt}}, {{kind: datacentre, path: asn.csv}}]
  trusted_hops: [127.0.0.0/8]
  rules:
    - {{name: vpns, kinds: [vpn], outcome: verify}}
    - {{name: closed, kinds: [datacentre, vpn], outcome: flag}}
tiers:
  anonymous: {{expose: {{logprobs: 0}}, limits: {{requests_per_minute: 100}}}}
  verified: {{expose: {{logprobs: 5}}}}
  attested_reseller: {{expose: {{logprobs: 0}}}}
"""


def make_certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{name}.key", "-out",
                    f"{name}.pem"], cwd=folder, check=True, capture_output=True)


def ask(guard, folder, key, body=None, headers=None, path="/v1/chat/completions", method="POST", authority="guard.pem"):
    context = ssl.create_default_context(cafile=folder / authority)
    connection = http.client.HTTPSConnection("localhost", guard.port, context=context, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {"Authorization": f"Bearer {key}", **(headers or {})})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def check_tls(checks, folder, guard, key, upstream):
    status, _, data = ask(guard, folder, key, CHAT)
    checks.check("TLS on both sides", status == 200 and CHAT_TEXT in data.decode(), data)
    status, _, data = ask(guard, folder, key, {**CHAT, "stream": True})
    checks.check("a stream under TLS", status == 200 and data.endswith(b"data: [DONE]\n\n"), data)
    large = {**CHAT, "messages": [{"role": "user", "content": "word " * 200_000}]}
    status, _, data = ask(guard, folder, key, large)
    checks.check("a megabyte under TLS", status == 200 and upstream.requests[-1]["body"] == large, data[:200])
    try:
        ask(guard, folder, key, CHAT, authority="other.pem")
        checks.check("a client that doesn't trust it", False)
    except ssl.SSLError:
        pass
    make_certificate(folder, "renewed")
    (folder / "guard.key").write_bytes((folder / "renewed.key").read_bytes())
    (folder / "guard.pem").write_bytes((folder / "renewed.pem").read_bytes())

    def renewed():
        try:
            return ask(guard, folder, key, CHAT)[0] == 200
        except ssl.SSLError:
            return False
    checks.check("a renewed certificate is used", guard.wait(renewed))


def check_networks(checks, folder, guard, keys):
    vpn = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    status, _, data = ask(guard, folder, keys["anonymous"], CHAT, vpn)
    checks.check("from a VPN an unknown caller is asked for verification", status == 403
                 and json.loads(data)["error"]["code"] == "verification_required", data)
    checks.check("a verified one isn't", ask(guard, folder, keys["verified"], CHAT, vpn)[0] == 200)
    elsewhere = {"X-Forwarded-For": "198.51.100.7, 192.0.2.1"}
    checks.check("what an untrusted hop says counts for nothing", ask(guard, folder, keys["anonymous"], CHAT, elsewhere)[0] == 200)


def check_reseller(checks, folder, guard, keys):
    run_guard(["orgs", "add", "guard.yaml", "shop", "--reseller", "--by", "tests"], folder)
    key = add_account(folder, "shop-app", tier="attested_reseller", organisation="shop")
    code, out, errors = run_guard(["orgs", "attest", "guard.yaml", "shop", "--by", "tests", "--json"], folder)
    checks.check("a reseller gets a secret", code == 0, errors)
    secret = bytes.fromhex(json.loads(out)["secret"])

    def header(pseudonym, now=None):
        now = int(time.time()) if now is None else now
        signature = hmac.new(secret, f"retort-end-customer/1\nshop\n{pseudonym}\n{now}".encode(), hashlib.sha256).hexdigest()
        return {"x-retort-end-customer": f"{pseudonym}; t={now}; sig={signature}"}

    checks.check("its end customers are attested", guard.wait(lambda: ask(guard, folder, key, CHAT, header("c-1"))[0] == 200))
    forged = {"x-retort-end-customer": header("c-1")["x-retort-end-customer"].replace("c-1", "c-2")}
    for name, spoiled in (("forged", forged), ("old", header("c-1", int(time.time()) - 4000))):
        status, _, data = ask(guard, folder, key, CHAT, spoiled)
        checks.check(f"a {name} one is refused", status == 403 and json.loads(data)["error"]["code"] == "end_customer_not_attested", data)
    checks.check("nobody else may send them", ask(guard, folder, keys["verified"], CHAT, header("c-1"))[0] == 403)


def check_lists_and_verification(checks, folder, guard, keys):
    (folder / "list.txt").write_text("Bad Holding\n")
    run_guard(["orgs", "listed", "guard.yaml", "sanctions", "list.txt", "--date", "2026-11-26", "--by", "tests"], folder)
    code, out, errors = run_guard(["orgs", "owners", "guard.yaml", "Middle Ltd", "Bad Holding=50.0", "--by", "tests"], folder)
    checks.check("owners are kept", code == 0, out + errors)
    run_guard(["orgs", "owners", "guard.yaml", "acme", "Middle Ltd=50.0", "--by", "tests"], folder)
    checks.check("an organisation that listed parties own is refused",
                 guard.wait(lambda: ask(guard, folder, keys["verified"], CHAT)[0] == 403))
    run_guard(["orgs", "owners", "guard.yaml", "acme", "Middle Ltd=49.999", "--by", "tests"], folder)
    checks.check("below the threshold it is served", guard.wait(lambda: ask(guard, folder, keys["verified"], CHAT)[0] == 200))

    wanted = {**CHAT, "logprobs": True}
    checks.check("an unknown caller has no log-probabilities", "logprobs" in ask(guard, folder, keys["anonymous"], wanted)[1].get("x-retort-withheld", ""))
    document = folder / "papers.pdf"
    document.write_bytes(b"papers")
    steps = [["verification", "request", "guard.yaml", "--account", "anonymous", "--tier", "verified", "--by", "Jane"]]
    code, out, errors = run_guard([*steps[0], "--json"], folder)
    checks.check("a verification is requested", code == 0, out + errors)
    if code == 0:
        number = str(json.loads(out).get("number", json.loads(out).get("id", 1)))
        for step in (["receive", "guard.yaml", number, "--document", "papers.pdf"], ["raise", "guard.yaml", number, "--expires", "90d"]):
            code, out, errors = run_guard(["verification", *step, "--by", "Jane"], folder)
            checks.check(f"verification {step[0]}", code == 0, out + errors)
        checks.check("and raises the tier", guard.wait(lambda: "x-retort-withheld" not in ask(guard, folder, keys["anonymous"], wanted)[1]))


def check_policy(checks, folder):
    code, out, errors = run_guard(["export", "guard.yaml", "--out", "exchanges.jsonl"], folder, {"GUARD_ADMIN": "x"})
    checks.check("exchanges are exported", code == 0, out + errors)
    strict = (folder / "guard.yaml").read_text().replace("verified: {expose: {logprobs: 5}}",
                                                         "verified: {expose: {logprobs: 0, reasoning: none, max_output_tokens: 5},\n"
                                                         "             limits: {requests_per_minute: 2}}")
    (folder / "strict.yaml").write_text(strict)
    result = json_of(["policy", "test", "strict.yaml", "--before", "guard.yaml", "--exchanges", "exchanges.jsonl"], folder,
                     environment={"GUARD_ADMIN": "x"})
    verified = next(tier for tier in result["tiers"] if tier["tier"] == "verified")
    checks.check("a policy is tried", result["exchanges"] > 5 and result["changed"] > 0 and result["refused"] > 0
                 and "limits.requests_per_minute" in result["by_rule"], result)
    checks.check("and what a harvester could take is said", verified["most_in_a_day"]["before"]["tokens"] is None
                 and verified["most_in_a_day"]["after"]["tokens"] == 2 * 1441 * 5 and verified["most_in_a_day"]["after"]["reasoning_tokens"] == 0
                 and verified["recorded"]["after"]["tokens"] < verified["recorded"]["before"]["tokens"], verified)
    (folder / "broken.jsonl").write_text((folder / "exchanges.jsonl").read_text().splitlines()[0] + "\n{\"dialect\": \"x\"}\n")
    code, _, errors = run_guard(["policy", "test", "strict.yaml", "--exchanges", "broken.jsonl"], folder, {"GUARD_ADMIN": "x"})
    checks.check("a broken line is named", code == 2 and "Line 2 of broken.jsonl" in errors, errors)


def check_erasure(checks, folder, guard):
    before = [json.loads(line) for line in (folder / "exchanges.jsonl").read_text().splitlines()]
    status, answer = guard.admin("POST", "/admin/erase", {"organisation": "acme", "by": "Jane"})
    checks.check("an organisation's texts are erased", status == 200 and json.loads(answer)["keys_destroyed"] >= 1, answer)
    checks.check("erasing needs a person", guard.admin("POST", "/admin/erase", {"organisation": "acme"})[0] == 400)
    run_guard(["export", "guard.yaml", "--out", "after.jsonl"], folder, {"GUARD_ADMIN": "x"})
    after = [json.loads(line) for line in (folder / "after.jsonl").read_text().splitlines()]
    acme = [line for line in after if line["account"] == "verified"]
    checks.check("they can't be read any more, the facts stay", acme and all("request" not in line for line in acme)
                 and any("request" in line for line in before if line["account"] == "verified"), acme[:1])
    checks.check("and the chain verifies", run_guard(["verify", "guard.yaml"], folder, {"GUARD_ADMIN": "x"})[0] == 0)


def check_rotation(checks, folder, guard, key):
    body = {"model": "small", "input": [{"role": "user", "content": "two and two?"}]}
    _, _, data = ask(guard, folder, key, body, path="/v1/responses")
    item = json.loads(data)["output"][0]
    code, out, errors = run_guard(["sealing", "rotate", "guard.yaml", "second"], folder, {"GUARD_ADMIN": "x"})
    checks.check("a key is added", code == 0 and "second" in out, out + errors)
    guard.wait(lambda: guard.metric("reloads_total") >= 1)
    _, _, data = ask(guard, folder, key, body, path="/v1/responses")
    newer = json.loads(data)["output"][0]
    for name, blob in (("the older", item), ("the newer", newer)):
        turn = {"model": "small", "input": [*body["input"], blob, {"role": "user", "content": "and three?"}]}
        status, headers, _ = ask(guard, folder, key, turn, path="/v1/responses")
        checks.check(f"{name} key opens", status == 200 and "x-retort-withheld" not in headers, headers)


def main():
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        for certificate in ("guard", "upstream", "other"):
            make_certificate(folder, certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "upstream.pem", folder / "upstream.key")
        upstream.server.socket = context.wrap_socket(upstream.server.socket, server_side=True, do_handshake_on_connect=False)
        url = upstream.url.replace("http://", "https://")
        (folder / "vpn.txt").write_text("198.51.100.0/24\n")
        (folder / "asn.csv").write_text("ASN,Entity\n64500,Example\n")
        (folder / "guard.yaml").write_text(GUARD_YAML.format(url=url, authorities="upstream.pem"))
        keys = {"verified": add_account(folder, "verified", organisation="acme"), "anonymous": add_account(folder, "anonymous", tier="anonymous")}
        with Guard(folder) as guard:
            check_tls(checks, folder, guard, keys["verified"], upstream)
            check_networks(checks, folder, guard, keys)
            check_reseller(checks, folder, guard, keys)
            check_lists_and_verification(checks, folder, guard, keys)
            check_policy(checks, folder)
            check_rotation(checks, folder, guard, keys["verified"])
            check_erasure(checks, folder, guard)
            (folder / "guard.yaml").write_text(GUARD_YAML.format(url=url, authorities="other.pem"))
            guard.admin("POST", "/admin/reload")
            status, _, data = ask(guard, folder, keys["verified"], CHAT)
            checks.check("an upstream that isn't trusted is not asked", status == 502 and b"trusted" in data, (status, data))
            checks.check("SIGTERM ends it", guard.stop() == 0, (folder / "guard.log").read_text())
    checks.end()


if __name__ == "__main__":
    main()
