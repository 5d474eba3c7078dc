"""nginx before a scripted upstream, asking `retort-guard` by auth_request: integrations/nginx/nginx.conf as it is shipped."""

import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from guard import Guard, add_account, run_guard
from planes import Door, check_abort, check_streaming, free_port, measure
from program import SKIPPED, SOURCE, Scenarios, scratch
from scripted_upstream import CHAT_TEXT, ScriptedUpstream

GUARD_YAML = """
listen: 127.0.0.1:0
workers: 1
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
authz: {{listen: "127.0.0.1:0"}}
upstreams: [{{name: main, url: "{url}"}}]
callers: {{path: callers}}
network: {{trusted_hops: [127.0.0.1], lists: [{{kind: vpn, path: vpn.txt}}], rules: [{{name: no-vpn, kinds: [vpn], outcome: refuse}}]}}
evidence: {{path: evidence, prompts: sketch, required: true}}
prices: {{small: {{input_per_mtok: 1, output_per_mtok: 2, max_output_tokens: 1000}}}}
tiers:
  verified: {{expose: {{models: [small]}}}}
  slow: {{limits: {{requests_per_minute: 2}}}}
  paid: {{limits: {{usd_per_day: 1}}}}
"""
CHAT = {"model": "small", "messages": [{"role": "user", "content": "What is two and two?"}]}


class Nginx(Door):
    def __init__(self, folder, authz, upstream, asks=True):
        port = free_port()
        text = (SOURCE / "integrations/nginx/nginx.conf").read_text()
        for shipped, here in (("127.0.0.1:8402", f"127.0.0.1:{authz}"), ("127.0.0.1:8080", upstream), ("127.0.0.1:8443", f"127.0.0.1:{port}"),
                              ("provider-key", "provider-secret")):
            assert text.count(shipped) == 1, shipped
            text = text.replace(shipped, here)
        if not asks:
            text = text.replace("auth_request /retort-authz;", "", 1)
        # Where a user without rights may write.
        text = text.replace("http {", "http {\n" + "".join(f"  {kind}_temp_path tmp_{kind};\n" for kind in
                                                           ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")), 1)
        (folder / "nginx.conf").write_text(text)
        log = open(folder / "nginx.log", "wb")  # pylint: disable=consider-using-with
        process = subprocess.Popen(["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"], stdout=log, stderr=log)
        super().__init__(process, port)


def check_answers(checks, nginx, guard, keys, upstream):
    status, headers, data = nginx.ask("POST", "/v1/chat/completions", CHAT, keys["verified"])
    assert status == 200, (status, headers, data)
    sent = upstream.requests[-1]
    checks.check("a known caller passes", status == 200 and json.loads(data)["choices"][0]["message"]["content"] == CHAT_TEXT, (status, data))
    checks.check("with the provider's key and not its own", sent["headers"].get("Authorization") == "Bearer provider-secret"
                 and keys["verified"] not in json.dumps(sent["headers"]) and sent["body"] == CHAT, sent)
    checks.check("with an id, and what was not decided", re.fullmatch("[0-9a-f]{32}", headers.get("x-retort-request-id", ""))
                 and "models" in headers.get("x-retort-undecided", ""), headers)
    before = len(upstream.requests)
    status, headers, data = nginx.ask("POST", "/v1/chat/completions", CHAT, None)
    checks.check("no key: 401 in the API's form", status == 401 and set(json.loads(data)["error"]) == {"message", "type", "param", "code"}
                 and headers["x-should-retry"] == "false" and headers["content-type"].startswith("application/json"), (status, headers, data))
    status, headers, data = nginx.ask("POST", "/v1/messages", {}, None, {"x-api-key": "nonsense"})
    checks.check("in Anthropic's", status == 401 and json.loads(data)["type"] == "error", (status, data))
    status, _, data = nginx.ask("POST", "/v1/batches", {}, keys["verified"])
    checks.check("what isn't exposed: 403", status == 403 and json.loads(data)["error"]["code"] == "batch_not_allowed", (status, data))
    status, _, data = nginx.ask("POST", "/v1/chat/completions", CHAT, keys["paid"])
    checks.check("a budget can't be kept here, so it is closed", status == 403 and json.loads(data)["error"]["code"] == "cost_not_bounded", (status, data))
    status, _, data = nginx.ask("POST", "/v1//chat/../batches", {}, keys["verified"])
    checks.check("paths in disguise", status == 404, (status, data))
    status, _, data = nginx.ask("POST", "/v1/chat/completions", CHAT, keys["verified"], {"X-Forwarded-For": "192.0.2.7, 127.0.0.1"})
    checks.check("the caller's address counts behind trusted hops", status == 403 and json.loads(data)["error"]["code"] == "network_refused", (status, data))
    status, _, data = nginx.ask("POST", "/v1/batches", {}, keys["verified"], {"X-Original-URI": "/v1/models", "X-Original-Method": "GET"})
    checks.check("a caller can't ask for another path", status == 403, (status, data))
    checks.check("nothing of it reached upstream", len(upstream.requests) == before)
    seen = [nginx.ask("POST", "/v1/chat/completions", CHAT, keys["slow"]) for _ in range(3)]
    status, headers, data = seen[-1]
    checks.check("limits: 429 with when to come again", [answer[0] for answer in seen] == [200, 200, 429]
                 and json.loads(data)["error"]["code"] == "rate_limit_exceeded" and headers["x-should-retry"] == "true"
                 and 1 <= int(headers["retry-after"]) <= 60 and int(headers["retry-after-ms"]) > 0, seen)
    upstream.behaviour["/v1/chat/completions"] = lambda handler, _: upstream.send(handler, 403, {"error": "upstream's own"})
    status, _, data = nginx.ask("POST", "/v1/chat/completions", CHAT, keys["verified"])
    checks.check("upstream's own refusals pass as they are", status == 403 and json.loads(data) == {"error": "upstream's own"}, (status, data))
    del upstream.behaviour["/v1/chat/completions"]
    guard.admin("POST", "/admin/steps", {"account": "verified", "step": "block", "by": "Jane", "reason": "a test"})
    status, _, data = nginx.ask("POST", "/v1/chat/completions", CHAT, keys["verified"])
    checks.check("steps hold here too", status == 403 and json.loads(data)["error"]["code"] == "account_blocked", (status, data))


def check_door(checks, authz, key):
    """The listener itself, asked without nginx."""
    def ask(source, headers):
        connection = http.client.HTTPConnection("127.0.0.1", authz, timeout=10, source_address=(source, 0))
        try:
            connection.request("GET", "/", None, {"Authorization": f"Bearer {key}", **headers})
            return connection.getresponse().status
        finally:
            connection.close()
    question = {"X-Original-Method": "GET", "X-Original-URI": "/v1/models"}
    checks.check("a trusted hop is answered", ask("127.0.0.1", question) == 200)
    checks.check("anybody else isn't", ask("127.0.0.2", question) == 403)
    checks.check("a question needs both headers", ask("127.0.0.1", {"X-Original-Method": "GET"}) == 400)


def check_evidence(checks, folder):
    code, out, errors = run_guard(["verify", "evidence", "--json"], folder)
    checks.check("the chain verifies", code == 0, out + errors)
    run_guard(["export", "--out", "exchanges.jsonl", "guard.yaml"], folder, {"GUARD_ADMIN": "y"})
    lines = [json.loads(line) for line in (folder / "exchanges.jsonl").read_text().splitlines()]
    passed = [line for line in lines if line.get("ended") == "handed_over"]
    checks.check("every request that passed is there", len(passed) >= 6 and all(
        line["account"] and line["dialect"] and "model" not in line and "request" not in line for line in passed), lines)
    checks.check("and every refusal of a known caller", {line["status"] for line in lines if line.get("status")} >= {403, 404, 429}, lines)


def check_measured(folder, guard, nginx, upstream, key):
    """nginx with and without the question, the guard as a proxy, and nothing: RETORT_MEASURE=1."""
    plain = folder / "plain"
    plain.mkdir()
    with Nginx(plain, nginx.port, upstream.url.removeprefix("http://"), asks=False) as bare:
        print("median and p99, us:", measure(upstream, {"upstream": int(upstream.url.rsplit(":", 1)[1]), "nginx": bare.port,
                                                        "nginx + auth_request": nginx.port, "guard": guard.port}, CHAT, key))


def main():
    if shutil.which("nginx") is None:
        print("skipped: there is no nginx (Debian's package nginx)")
        sys.exit(SKIPPED)
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        (folder / "guard.yaml").write_text(GUARD_YAML.format(url=upstream.url))
        (folder / "vpn.txt").write_text("192.0.2.0/24\n")
        keys = {tier: add_account(folder, tier, tier=tier) for tier in ("verified", "slow", "paid")}
        keys["other"] = add_account(folder, "other")
        code, out, errors = run_guard(["check", "guard.yaml"], folder, {"GUARD_ADMIN": "y"})
        checks.check("check says what is not decided", code == 0 and "authz.listen lets the tier 'verified' pass without deciding models" in out
                     and "authz.listen refuses the tier 'paid'" in out, out + errors)
        with Guard(folder) as guard:
            guard.read_admin()
            authz = int(guard.process.stdout.readline().decode().strip().rsplit(":", 1)[1])
            with Nginx(folder, authz, upstream.url.removeprefix("http://")) as nginx:
                check_answers(checks, nginx, guard, keys, upstream)
                check_streaming(checks, nginx, upstream, CHAT, keys["other"])
                check_abort(checks, nginx, upstream, CHAT, keys["other"])
                check_door(checks, authz, keys["other"])
                if os.environ.get("RETORT_MEASURE"):
                    check_measured(folder, guard, nginx, upstream, keys["other"])
                checks.check("SIGTERM ends the guard", guard.stop() == 0)
                status, headers, data = nginx.ask("POST", "/v1/chat/completions", CHAT, keys["other"])
                checks.check("without the guard nobody passes", status == 503 and json.loads(data)["error"]["code"] == "guard_unavailable"
                             and headers["x-should-retry"] == "true", (status, data))
        check_evidence(checks, folder)
        checks.check("nginx said nothing worse than that", "[emerg]" not in (folder / "nginx.log").read_text(), "")
    checks.end()


if __name__ == "__main__":
    main()
