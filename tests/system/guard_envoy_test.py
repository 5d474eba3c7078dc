"""The real Envoy before a scripted upstream, asking `retort-guard` by ext_authz: integrations/envoy/envoy.yaml as it is shipped."""

import json
import os
import pathlib
import re
import subprocess
import sys

from guard import GUARD, Guard, add_account, run_guard
from planes import Door, check_abort, check_streaming, free_port, measure
from program import SKIPPED, SOURCE, Scenarios, scratch
from scripted_upstream import CHAT_TEXT, ScriptedUpstream

GUARD_YAML = """
listen: 127.0.0.1:0
workers: 1
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
authz: {{ext_authz: "{listen}"}}
upstreams:
  - {{name: openai, url: "{url}", key_env: UPSTREAM_KEY, models: [small, secret]}}
  - {{name: anthropic, dialect: anthropic, url: "{url}", key_env: UPSTREAM_KEY}}
callers: {{path: callers}}
network: {{trusted_hops: [{hops}], lists: [{{kind: vpn, path: vpn.txt}}], rules: [{{name: no-vpn, kinds: [vpn], outcome: refuse}}]}}
evidence: {{path: evidence, prompts: whole, required: true}}
prices: {{small: {{input_per_mtok: 1000, output_per_mtok: 2000, max_output_tokens: 1000}},
          secret: {{input_per_mtok: 1, output_per_mtok: 1, max_output_tokens: 1000}}}}
tiers:
  verified: {{expose: {{models: [small, "claude-*"], logprobs: 5}}}}
  anonymous: {{expose: {{models: [small], reasoning: none, seed: false, tools: false, max_output_tokens: 100}}}}
  slow: {{limits: {{requests_per_minute: 2}}}}
  paid: {{limits: {{usd_per_day: 0.5}}}}
"""
CHAT = {"model": "small", "messages": [{"role": "user", "content": "What is two and two?"}], "max_tokens": 50}
MESSAGES = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": "What is two and two?"}]}


def own_addresses():
    """Envoy writes the machine's own address, for a caller on the loopback interface, into X-Forwarded-For."""
    listed = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    return ", ".join(["127.0.0.1", *(f'"{address}"' for address in listed)])


def envoy_program():
    site = subprocess.run(["bash", str(SOURCE / "scripts/clients.sh"), "--envoy-path"], capture_output=True, text=True, check=True).stdout.strip()
    return pathlib.Path(site) / "envoy/_bin/envoy"


class Envoy(Door):
    def __init__(self, folder, upstream, endpoint):
        port = free_port()
        text = (SOURCE / "integrations/envoy/envoy.yaml").read_text()
        host = upstream.rsplit(":", 1)[1]
        for shipped, here in (("port_value: 8443", f"port_value: {port}"), ("port_value: 8080", f"port_value: {host}"),
                              ("port_value: 8081", f"port_value: {host}"), ("{pipe: {path: /run/retort/authz.sock}}", endpoint)):
            assert text.count(shipped) == 1, shipped
            text = text.replace(shipped, here)
        (folder / "envoy.yaml").write_text(text)
        self.access = folder / "envoy.out"
        with open(self.access, "ab") as out, open(folder / "envoy.log", "ab") as log:
            process = subprocess.Popen([envoy_program(), "-c", str(folder / "envoy.yaml"), "--concurrency", "1", "--disable-hot-restart",
                                        "--log-level", "warning", "--file-flush-interval-msec", "50"], cwd=folder, stdout=out, stderr=log)
        super().__init__(process, port)


def check_answers(checks, envoy, keys, upstream):
    status, headers, data = envoy.ask("POST", "/v1/chat/completions", CHAT, keys["verified"], {"X-Retort-Request-Id": "mine"})
    assert status == 200, (status, headers, data)
    sent = upstream.requests[-1]
    checks.check("a known caller passes", status == 200 and json.loads(data)["choices"][0]["message"]["content"] == CHAT_TEXT, (status, data))
    checks.check("with the provider's key and not its own", sent["headers"].get("authorization") == "Bearer provider-secret"
                 and keys["verified"] not in json.dumps(sent["headers"]) and sent["raw"] == json.dumps(CHAT).encode(), sent)
    checks.check("and no header of ours goes upstream", not [name for name in sent["headers"] if name.lower().startswith("x-retort-")], sent)
    checks.check("with an id of the guard's", re.fullmatch("[0-9a-f]{32}", headers.get("x-retort-request-id", "")), headers)
    status, _, data = envoy.ask("POST", "/v1/messages", MESSAGES, None, {"x-api-key": keys["verified"], "anthropic-version": "2023-06-01"})
    sent = upstream.requests[-1]
    checks.check("the other dialect", status == 200 and sent["headers"].get("x-api-key") == "provider-secret" and sent["path"] == "/v1/messages", (data, sent))
    status, headers, _ = envoy.ask("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 60}, keys["anonymous"])
    checks.check("what isn't decided is said", status == 200 and headers.get("x-retort-undecided") == "reasoning", (status, headers))


def check_refusals(checks, envoy, guard, keys, upstream):
    before = len(upstream.requests)
    status, headers, data = envoy.ask("POST", "/v1/chat/completions", CHAT, None)
    checks.check("no key: 401 in the API's form", status == 401 and set(json.loads(data)["error"]) == {"message", "type", "param", "code"}
                 and headers["x-should-retry"] == "false" and headers["content-type"] == "application/json", (status, headers, data))
    status, _, data = envoy.ask("POST", "/v1/messages", MESSAGES, None, {"x-api-key": "nonsense"})
    checks.check("in Anthropic's", status == 401 and json.loads(data)["type"] == "error", (status, data))
    for name, key, change, expected in (
            ("a model that isn't exposed", "verified", {"model": "secret"}, (404, "model_not_found")),
            ("logprobs", "anonymous", {"logprobs": True}, (403, "logprobs_not_allowed")),
            ("too many logprobs", "verified", {"logprobs": True, "top_logprobs": 20}, (403, "logprobs_not_allowed")),
            ("several completions", "verified", {"n": 3}, (403, "n_not_allowed")),
            ("a seed", "anonymous", {"seed": 1}, (403, "seed_not_allowed")),
            ("tools", "anonymous", {"tools": [{"type": "function", "function": {"name": "add"}}]}, (403, "tools_not_allowed")),
            ("reasoning", "anonymous", {"reasoning_effort": "high"}, (403, "reasoning_not_allowed")),
            ("a long answer", "anonymous", {"max_tokens": 500}, (403, "max_output_tokens_not_allowed")),
            ("an unbounded answer", "anonymous", {"max_tokens": None}, (403, "max_tokens_needed")),
            ("a stored answer", "verified", {"store": True}, (403, "stored_not_allowed")),
            ("a cost that may pass the budget", "paid", {"max_tokens": None}, (429, "insufficient_quota"))):
        status, _, data = envoy.ask("POST", "/v1/chat/completions", {**CHAT, **change}, keys[key])
        checks.check(f"{name}: refused, for nothing can be withheld here", (status, json.loads(data)["error"]["code"]) == expected, (status, data))
    for name, body in (("not JSON", b"{"), ("a key twice", b'{"model":"small","model":"secret","messages":[]}'), ("nothing", b""),
                       ("not UTF-8", b'{"model":"small","messages":[{"role":"user","content":"\xff"}]}')):
        status, _, data = envoy.ask("POST", "/v1/chat/completions", body, keys["verified"])
        checks.check(f"a body with {name} is refused", status == 400 and "message" in json.loads(data)["error"], (status, data))
    for path in ("/v1/batches", "/v1//batches", "/v1/chat/../batches", "/v1/%2e%2e/v1/batches", "/v1/chat%2fcompletions"):
        status, _, data = envoy.ask("POST", path, {}, keys["verified"])
        checks.check(f"{path} is refused", status in (400, 403, 404), (status, data))
    status, _, data = envoy.ask("POST", "/v1/chat/completions", CHAT, keys["verified"], {"X-Forwarded-For": "203.0.113.7"})
    checks.check("the caller's address counts behind trusted hops", status == 403 and json.loads(data)["error"]["code"] == "network_refused", (status, data))
    checks.check("nothing of it reached upstream", len(upstream.requests) == before, upstream.requests[before:])
    seen = [envoy.ask("POST", "/v1/chat/completions", CHAT, keys["slow"]) for _ in range(3)]
    status, headers, data = seen[-1]
    checks.check("limits: 429 with when to come again", [answer[0] for answer in seen] == [200, 200, 429]
                 and json.loads(data)["error"]["code"] == "rate_limit_exceeded" and headers["x-should-retry"] == "true"
                 and 1 <= int(headers["retry-after"]) <= 60, seen)
    codes = []
    for _ in range(12):
        status, headers, data = envoy.ask("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 10}, keys["paid"])
        codes.append(status)
    spent = json.loads(guard.admin("GET", "/admin/spending/paid")[1])
    checks.check("money: the worst case is what counts, and the budget holds", 0 < codes.count(200) < 12 and codes[-1] == 429
                 and json.loads(data)["error"]["code"] == "insufficient_quota" and headers["x-should-retry"] == "false"
                 and 0 < spent["settled_usd"] <= 0.5 and spent["reserved_usd"] == 0, (codes, spent, data))
    checks.check("what Envoy asked is counted", guard.metric('questions_total{way="ext_authz"}') >= 12
                 and guard.metric('questions_total{way="auth_request"}') == 0)
    guard.admin("POST", "/admin/steps", {"account": "verified", "step": "block", "by": "Jane", "reason": "a test"})
    status, _, data = envoy.ask("POST", "/v1/chat/completions", CHAT, keys["verified"])
    checks.check("steps hold here too", status == 403 and json.loads(data)["error"]["code"] == "account_blocked", (status, data))


def check_large(checks, envoy, key, upstream):
    body = {**CHAT, "messages": [{"role": "user", "content": "x" * (6 << 20)}]}
    status, _, data = envoy.ask("POST", "/v1/chat/completions", body, key)
    checks.check("a body of 6 MB passes whole", status == 200 and len(upstream.requests[-1]["raw"]) == len(json.dumps(body)), (status, data))


def check_evidence(checks, folder):
    code, out, errors = run_guard(["verify", "evidence", "--json"], folder)
    checks.check("the chain verifies", code == 0, out + errors)
    run_guard(["export", "--out", "exchanges.jsonl", "guard.yaml"], folder, {"GUARD_ADMIN": "y", "UPSTREAM_KEY": "x"})
    lines = [json.loads(line) for line in (folder / "exchanges.jsonl").read_text().splitlines()]
    passed = [line for line in lines if line.get("ended") == "handed_over"]
    checks.check("every request that passed is there, with what was asked", len(passed) >= 6
                 and all(line["account"] and line["model"] and line["request"]["messages"] for line in passed), passed[:2])
    checks.check("and every refusal of a known caller", {line["status"] for line in lines if line.get("status")} >= {400, 403, 404, 429}, lines)


def check_measured(folder, guard, envoy, upstream, key):
    """Envoy with and without the filter, the guard as a proxy, and nothing: RETORT_MEASURE=1."""
    plain = folder / "plain"
    plain.mkdir()
    text = (folder / "envoy.yaml").read_text()
    port = free_port()
    begin, end = text.index("                  - name: envoy.filters.http.ext_authz"), text.index("                  - name: envoy.filters.http.router")
    text = (text[:begin] + text[end:]).replace(f"port_value: {envoy.port}", f"port_value: {port}")
    (plain / "envoy.yaml").write_text(text)
    with open(plain / "out", "wb") as out:
        process = subprocess.Popen([envoy_program(), "-c", str(plain / "envoy.yaml"), "--concurrency", "1", "--disable-hot-restart",
                                    "--log-level", "error"], stdout=out, stderr=out)
    with Door(process, port) as bare:
        print("median and p99, us:", measure(upstream, {"upstream": int(upstream.url.rsplit(":", 1)[1]), "envoy": bare.port,
                                                        "envoy + ext_authz": envoy.port, "guard": guard.port}, CHAT, key))


def main():
    if not envoy_program().exists():
        print("skipped: Envoy is not installed (scripts/clients.sh)")
        sys.exit(SKIPPED)
    if not pathlib.Path(GUARD).with_name("retort-guard-grpc").exists():
        print("skipped: retort-guard-grpc was not built (libgrpc++-dev, libprotobuf-dev, protobuf-compiler, protobuf-compiler-grpc)")
        sys.exit(SKIPPED)
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        configuration = folder / "guard.yaml"
        socket = f"unix:{folder}/authz.sock"
        configuration.write_text(GUARD_YAML.format(url=upstream.url, listen=socket, hops=own_addresses()))
        (folder / "vpn.txt").write_text("203.0.113.0/24\n")
        keys = {tier: add_account(folder, tier, tier=tier) for tier in ("verified", "anonymous", "slow", "paid")}
        keys["other"] = add_account(folder, "other")
        code, out, errors = run_guard(["check", "guard.yaml"], folder, {"GUARD_ADMIN": "y", "UPSTREAM_KEY": "x"})
        checks.check("check says what is not decided", code == 0 and "lets the tier 'anonymous' pass without deciding reasoning" in out, out + errors)
        with Guard(folder) as guard:
            guard.read_admin()
            checks.check("it says where it is asked", guard.process.stdout.readline().decode().strip() == f"ext_authz on {socket}")
            with Envoy(folder, upstream.url, f"{{pipe: {{path: {folder}/authz.sock}}}}") as envoy:
                check_answers(checks, envoy, keys, upstream)
                check_refusals(checks, envoy, guard, keys, upstream)
                check_streaming(checks, envoy, upstream, CHAT, keys["other"])
                check_abort(checks, envoy, upstream, CHAT, keys["other"])
                check_large(checks, envoy, keys["other"], upstream)
                if os.environ.get("RETORT_MEASURE"):
                    check_measured(folder, guard, envoy, upstream, keys["other"])
                checks.check("SIGTERM ends the guard", guard.stop() == 0, (folder / "guard.log").read_text())
                before = len(upstream.requests)
                status, _, _ = envoy.ask("POST", "/v1/chat/completions", CHAT, keys["other"])
                checks.check("without the guard nobody passes", status == 503 and len(upstream.requests) == before, status)
            log = [json.loads(line) for line in envoy.access.read_text().splitlines() if line.startswith("{")]
            checks.check("Envoy's log names the account", {"verified", "slow", None} <= {line["account"] for line in log}, log[:3])
        check_evidence(checks, folder)
        # Over TCP, only trusted hops.
        for hops, expected in ((own_addresses(), 200), ("203.0.113.1", 503)):
            configuration.write_text(GUARD_YAML.format(url=upstream.url, listen="127.0.0.1:0", hops=hops))
            with Guard(folder) as guard:
                guard.read_admin()
                port = guard.process.stdout.readline().decode().strip().rsplit(":", 1)[1]
                spent = json.loads(guard.admin("GET", "/admin/spending/paid")[1])["settled_usd"]
                checks.check("what was counted outlives the process", 0.3 < spent <= 0.5, spent)
                with Envoy(folder, upstream.url, f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}") as envoy:
                    status, _, data = envoy.ask("POST", "/v1/chat/completions", CHAT, keys["other"])
                    checks.check(f"over TCP, with {hops} trusted", status == expected, (status, data))
    checks.end()


if __name__ == "__main__":
    main()
