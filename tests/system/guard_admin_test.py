"""Callers over `retort-guard`'s admin API: what the command line does, at once and with the same audit trail."""

import json
import pathlib

from guard import Guard, json_of
from program import Scenarios, scratch
from scripted_upstream import ScriptedUpstream

CHAT = {"model": "small", "messages": [{"role": "user", "content": "What is two and two?"}], "max_tokens": 10}
GUARD_YAML = """
listen: 127.0.0.1:0
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
upstreams: [{{name: openai, url: "{url}"}}]
callers: {{listed_from: 50, or_more: false}}
tiers:
  anonymous: {{expose: {{logprobs: 0}}}}
  verified: {{expose: {{logprobs: 5}}}}
"""


class Operator:
    def __init__(self, checks, guard):
        self.checks = checks
        self.guard = guard

    def get(self, path):
        status, text = self.guard.admin("GET", path)
        self.checks.check(f"GET {path}", status == 200, (status, text))
        return json.loads(text)

    def post(self, path, expected=200, by="Jane", **body):
        status, text = self.guard.admin("POST", path, {**({"by": by} if by else {}), **body})
        self.checks.check(f"POST {path} {body}", status == expected, (status, text))
        return json.loads(text)

    def ask(self, key, **more):
        return self.guard.ask("POST", "/v1/chat/completions", {**CHAT, **more}, key)


def check_keys(checks, operator, folder):
    operator.post("/admin/organisations", organisation="acme", name="Acme Ltd", kind="company")
    made = operator.post("/admin/keys", account="acme-app", organisation="acme", tier="verified", note="batch jobs", expires="90d")
    checks.check("a new key is of its form and counts at once", made["secret"].startswith("rg_" + made["id"]) and operator.ask(made["secret"])[0] == 200, made)
    listed = operator.get("/admin/keys?account=acme-app")["keys"]
    checks.check("it is listed without its secret", [key["id"] for key in listed] == [made["id"]] and made["secret"] not in json.dumps(listed), listed)
    checks.check("and of another account there is none", operator.get("/admin/keys?account=x")["keys"] == [])
    checks.check("the command line sees it", [key["id"] for key in json_of(["keys", "list", "guard.yaml"], folder)["keys"]] == [made["id"]])
    operator.post("/admin/keys", expected=400, account="acme-app", tier="own")
    operator.post(f"/admin/keys/{made['id']}/revoke")
    checks.check("a revoked one counts no more", operator.ask(made["secret"])[0] == 401)
    operator.post(f"/admin/keys/{made['id']}/revoke", expected=400)


def check_ownership(checks, operator):
    key = operator.post("/admin/keys", account="acme-app")["secret"]
    operator.post("/admin/lists", name="sanctions", date="2026-11-26", entities=["Bad Holding"])
    operator.post("/admin/organisations/acme/owners", owners=[{"owner": "Bad Holding", "percent": "50.1"}])
    checks.check("a listed owner's organisation is refused at once", operator.ask(key)[0] == 403)
    line = next(one for one in operator.get("/admin/organisations")["organisations"] if one["organisation"] == "acme")
    checks.check("and shown so", line["listed"] and line["owners"] == [{"owner": "Bad Holding", "percent": "50.1"}], line)
    operator.post("/admin/organisations/acme/owners", expected=400, owners=[{"owner": "Bad Holding", "percent": 50.0}])
    operator.post("/admin/organisations/acme/owners", owners=[{"owner": "Bad Holding", "percent": "50.0"}])
    checks.check("at 50 % it isn't, as configured", operator.ask(key)[0] == 200)


def check_verification(checks, operator):
    operator.post("/admin/accounts", account="someone", kind="research", plan_usd="19.99")
    key = operator.post("/admin/keys", account="someone")["secret"]
    operator.post("/admin/traits", account="someone", kind="email", value="someone@example.com")
    withheld = lambda: operator.ask(key, logprobs=True)[1].get("x-retort-withheld")  # noqa: E731
    checks.check("an unknown caller has no log-probabilities", withheld() == "logprobs", withheld())
    number = operator.post("/admin/verifications", account="someone", tier="verified", kind="research")["number"]
    operator.post(f"/admin/verifications/{number}/raise", expected=400, expires="90d")
    operator.post(f"/admin/verifications/{number}/receive", document="a" * 64, note="passport seen")
    operator.post(f"/admin/verifications/{number}/raise", expires="90d")
    checks.check("verified, it has", withheld() is None, withheld())
    states = [step["state"] for step in operator.get("/admin/verifications")["verifications"][0]["steps"]]
    checks.check("the steps are kept", states == ["requested", "received", "raised"], states)
    operator.post(f"/admin/verifications/{number}/refuse", note="forged")
    checks.check("and taken back at once", withheld() == "logprobs", withheld())
    operator.post("/admin/accounts/someone/tier", tier="verified")
    checks.check("a tier can be set by hand", withheld() is None, withheld())
    line = next(one for one in operator.get("/admin/callers")["callers"] if one["account"] == "someone")
    checks.check("the caller's line has it all", line["plan_usd_month"] == 19.99 and line["tier"] == "verified" and len(line["registration"]) == 1, line)


def check_refusals(checks, operator):
    answer = operator.post("/admin/keys", expected=400, acount="x")
    checks.check("a mistyped member is named", "did you mean 'account'" in answer["error"]["message"], answer)
    answer = operator.post("/admin/keys", expected=400, by=None, account="x")
    checks.check("nobody changes anything without a name", "'by' is missing" in answer["error"]["message"], answer)
    operator.post("/admin/keys", expected=400, account=7)
    operator.post("/admin/keys/unknown/revoke", expected=400)
    operator.post("/admin/verifications/x/refuse", expected=400)
    operator.post("/admin/organisations/a%2Fb/nothing", expected=404)
    checks.check("not without the credential", operator.guard.admin("POST", "/admin/keys", {"by": "Eve"}, token="guess")[0] == 401)


def main():
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        (folder / "guard.yaml").write_text(GUARD_YAML.format(url=upstream.url))
        with Guard(folder) as guard:
            operator = Operator(checks, guard)
            check_keys(checks, operator, folder)
            check_ownership(checks, operator)
            check_verification(checks, operator)
            check_refusals(checks, operator)
            shop = operator.post("/admin/organisations", organisation="shop", reseller=True)
            secret = operator.post("/admin/organisations/shop/attestation")["secret"]
            checks.check("a reseller gets a secret", shop["organisation"] == "shop" and len(bytes.fromhex(secret)) == 32, secret)
            trail = operator.get("/admin/audit?limit=1000")["audit"]
            checks.check("every change is in the audit trail", {"key.create", "key.revoke", "organisation.add"} <= {one["what"] for one in trail}
                         and {one["who"] for one in trail} == {"Jane"}, [one["what"] for one in trail])
            told = json.dumps(trail) + (folder / "guard.log").read_text()
            checks.check("and no secret or trait is anywhere", secret not in told and "someone@example.com" not in told)
            checks.check("SIGTERM ends it", guard.stop() == 0)
    checks.end()


if __name__ == "__main__":
    main()
