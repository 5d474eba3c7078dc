"""Batches through `retort-guard`: each request of an uploaded file or an inline list is judged, what they may cost is reserved, and
results hold no more than single answers do. What accounts spend is counted, with limits or without."""

import http.client
import json
import pathlib
from concurrent.futures import ThreadPoolExecutor

from guard import Guard, add_account
from program import Scenarios, scratch
from scripted_upstream import CHAT_TEXT, REASONING, ScriptedUpstream, chat_answer, message_answer

GUARD_YAML = """
listen: 127.0.0.1:0
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
upstreams:
  - {{name: openai, url: "{url}", models: [small, embedder]}}
  - {{name: anthropic, dialect: anthropic, url: "{url}", models: [claude]}}
evidence: {{path: evidence, prompts: none, required: true}}
sealing: {{keys: sealing.json}}
prices:
  small: {{input_per_mtok: 1000, output_per_mtok: 2000}}
  claude: {{input_per_mtok: 1000, output_per_mtok: 2000, cached_input_per_mtok: 100, cache_write_per_mtok: 2000}}
  embedder: {{input_per_mtok: 1000, output_per_mtok: 0}}
tiers:
  verified: {{expose: {{batch: true, files: true, reasoning: none, max_output_tokens: 100}}, limits: {{usd_per_day: 1.5}}}}
  own: {{expose: {{batch: true, files: true}}}}
  paced: {{limits: {{tokens_per_minute: 2000}}}}
"""
MESSAGES = [{"role": "user", "content": "What is two and two?"}]


def line(number, **more):
    return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions",
                       "body": {"model": "small", "messages": MESSAGES, "max_tokens": 100, **more}})


def form(lines, purpose="batch"):
    parts = (f'--b0\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
             '--b0\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n')
    return parts.encode() + "\n".join(lines).encode() + b"\r\n--b0--\r\n"


class Api:
    """The file and batch paths of both APIs."""

    def __init__(self, upstream):
        self.files = self.batches = 0
        self.upstream = upstream
        upstream.behaviour.update({"/v1/files": self.upload, "/v1/batches": self.create, "/v1/messages/batches": self.create,
                                   "/v1/files/file-out/content": self.results, "/v1/embeddings": self.embed,
                                   "/v1/messages/batches/b/results": self.message_results})
        self.refuse = False

    def upload(self, handler, _):
        self.files += 1
        self.upstream.send(handler, 200, {"id": f"file-{self.files}", "object": "file", "purpose": "batch"})

    def create(self, handler, _):
        self.batches += 1
        kind = {"type": "message_batch", "processing_status": "in_progress"} if "messages" in handler.path else {"object": "batch", "status": "validating"}
        self.upstream.send(handler, 500 if self.refuse else 200, {"id": f"batch-{self.batches}", **kind})

    def embed(self, handler, _):
        self.upstream.send(handler, 200, {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                                          "model": "embedder", "usage": {"prompt_tokens": 3, "total_tokens": 3}})

    def lines(self, handler, documents):
        data = "".join(json.dumps(document) + "\n" for document in documents).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def results(self, handler, _):
        body = chat_answer({"model": "small", "messages": MESSAGES})
        self.lines(handler, [{"custom_id": str(i), "response": {"status_code": 200, "body": body}, "error": None} for i in range(3)])

    def message_results(self, handler, _):
        message = message_answer({"model": "claude"})
        self.lines(handler, [{"custom_id": "0", "result": {"type": "succeeded", "message": message}}])


def upload(guard, key, lines, purpose="batch"):
    status, headers, data = guard.ask("POST", "/v1/files", form(lines, purpose), key, {"Content-Type": "multipart/form-data; boundary=b0"})
    return status, headers, json.loads(data)


def create(guard, key, file, endpoint="/v1/chat/completions"):
    status, _, data = guard.ask("POST", "/v1/batches", {"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"}, key)
    return status, json.loads(data)


def spent(guard, account):
    return json.loads(guard.admin("GET", f"/admin/spending/{account}")[1])


def check_uploads(checks, guard, upstream, keys):
    status, _, data = upload(guard, keys["acme"], [line(1), line(2, logprobs=True)])
    checks.check("a line that may not be is named", status == 403 and "Line 2 of the batch" in data["error"]["message"]
                 and data["error"]["code"] == "logprobs_not_allowed", (status, data))
    checks.check("and nothing was uploaded", not upstream.requests, upstream.requests)
    status, _, data = upload(guard, keys["acme"], [line(1), line(2, model="secret")])
    checks.check("a model without a price is taken, and counts as without a bound", status == 200, (status, data))
    checks.check("so that no batch is made of it", create(guard, keys["acme"], "file-1")[0] == 403)
    connection = http.client.HTTPConnection("127.0.0.1", guard.port, timeout=30)
    connection.putrequest("POST", "/v1/files")
    body = form([line(1)])
    for field in (("Authorization", f"Bearer {keys['acme']}"), ("Content-Type", "multipart/form-data; boundary=b0"),
                  ("Content-Type", "multipart/form-data; boundary=other"), ("Content-Length", str(len(body)))):
        connection.putheader(*field)
    connection.endheaders(body)
    checks.check("a form with two boundaries is refused", connection.getresponse().status == 400)
    connection.close()
    unbounded = json.loads(line(2))
    del unbounded["body"]["max_tokens"]
    status, headers, data = upload(guard, keys["acme"], [line(1), json.dumps(unbounded)])
    sent = upstream.requests[-1]
    checks.check("a good file goes on", status == 200 and data["id"] == "file-2", (status, data))
    expected = {**unbounded, "body": {**unbounded["body"], "max_completion_tokens": 100}}
    lines = sent["raw"].split(b"\r\n\r\n")[2].split(b"\r\n--b0")[0].split(b"\n")
    checks.check("with what this tier is bounded by", [json.loads(one) for one in lines] == [json.loads(line(1)), expected], sent)
    checks.check("in a form of the right length", int(sent["headers"]["Content-Length"]) == len(sent["raw"]), sent["headers"])
    status, _, _ = upload(guard, keys["acme"], ["anything"], purpose="user_data")
    checks.check("other purposes pass", status == 200, status)
    checks.check("uploading costs nothing", spent(guard, "acme") == {"settled_usd": 0.0, "reserved_usd": 0.0}, spent(guard, "acme"))


def check_batches(checks, guard, api, keys):
    checks.check("a file nobody looked into", create(guard, keys["acme"], "file-77")[0] == 403)
    checks.check("a file of somebody else's", create(guard, keys["other"], "file-2")[0] == 403)
    checks.check("another path than its lines have", create(guard, keys["acme"], "file-2", "/v1/responses")[0] == 400)
    api.refuse = True
    status, data = create(guard, keys["acme"], "file-2")
    checks.check("a batch that upstream refuses costs nothing", status == 500 and spent(guard, "acme") == {"settled_usd": 0, "reserved_usd": 0},
                 (status, data))
    api.refuse = False
    status, data = create(guard, keys["acme"], "file-2")
    cost = spent(guard, "acme")
    checks.check("a batch holds its worst case", status == 200 and 0.4 <= cost["reserved_usd"] <= 0.9 and cost["settled_usd"] == 0, (status, data, cost))
    create(guard, keys["acme"], "file-2")
    status, data = create(guard, keys["acme"], "file-2")
    checks.check("until the budget is used up", status == 429 and data["error"]["code"] == "insufficient_quota", (status, data))
    checks.check("files and results are still to be had", guard.ask("GET", "/v1/files/file-out/content", key=keys["acme"])[0] == 200)


def check_results(checks, guard, keys):
    status, headers, data = guard.ask("GET", "/v1/files/file-out/content", key=keys["acme"], headers={"Range": "bytes=5-"})
    lines = [json.loads(one) for one in data.decode().splitlines()]
    texts = [one["response"]["body"]["choices"][0]["message"]["content"] for one in lines]
    checks.check("results have their texts", status == 200 and texts == [CHAT_TEXT] * 3, data)
    checks.check("and no reasoning", REASONING not in data.decode() and "reasoning" in headers["x-retort-withheld"], headers)
    _, _, data = guard.ask("GET", "/v1/messages/batches/b/results", key=keys["own"], headers={"anthropic-version": "2023-06-01"})
    checks.check("blobs are left out of results", CHAT_TEXT in data.decode() and REASONING in data.decode()
                 and "upstream-signature" not in data.decode(), data)


def check_inline(checks, guard, upstream, keys):
    def ask(key, *wishes):
        requests = [{"custom_id": str(i), "params": {"model": "claude", "max_tokens": 10, "messages": MESSAGES, **wish}} for i, wish in enumerate(wishes)]
        status, _, data = guard.ask("POST", "/v1/messages/batches", {"requests": requests}, key, {"anthropic-version": "2023-06-01"})
        return status, json.loads(data)
    status, data = ask(keys["other"], {}, {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000})
    checks.check("a request of a list that may not be is named", status == 403 and "Request 2 of the batch" in data["error"]["message"], (status, data))
    before = len(upstream.requests)
    status, data = ask(keys["other"], {}, {})
    checks.check("a list goes on as it is", status == 200 and len(upstream.requests) == before + 1
                 and len(upstream.requests[-1]["body"]["requests"]) == 2, (status, data))
    checks.check("and is counted", 0.04 < spent(guard, "other")["reserved_usd"] < 1, spent(guard, "other"))


def check_spending(checks, guard, upstream, keys):
    guard.ask("POST", "/v1/chat/completions", {"model": "small", "messages": MESSAGES}, keys["own"])
    checks.check("an account without limits is counted at once", abs(spent(guard, "own")["settled_usd"] - 0.025) < 1e-9, spent(guard, "own"))
    guard.ask("POST", "/v1/embeddings", {"model": "embedder", "input": "abc def"}, keys["own"])
    checks.check("embeddings are charged by what was counted", abs(spent(guard, "own")["settled_usd"] - 0.028) < 1e-9, spent(guard, "own"))
    upstream.behaviour["/v1/messages"] = lambda handler, body: upstream.send(handler, 200, {
        **message_answer(body), "usage": {"input_tokens": 1, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3, "output_tokens": 4}})
    guard.ask("POST", "/v1/messages", {"model": "claude", "max_tokens": 10, "messages": MESSAGES}, keys["own"], {"anthropic-version": "2023-06-01"})
    checks.check("tokens of a cache have their own prices", abs(spent(guard, "own")["settled_usd"] - 0.028 - 0.001 - 0.002 - 0.006 - 0.008) < 1e-9,
                 spent(guard, "own"))


def check_estimates(checks, guard, upstream, keys):
    upstream.delay_s = 0.5
    asked = {"model": "small", "messages": MESSAGES, "max_tokens": 512, "n": 100}
    with ThreadPoolExecutor(2) as callers:
        seen = list(callers.map(lambda _: guard.ask("POST", "/v1/chat/completions", asked, keys["paced"])[0], range(2)))
    upstream.delay_s = 0
    checks.check("completions that were withheld aren't waited for", seen == [200, 200], seen)


def main():
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        (folder / "guard.yaml").write_text(GUARD_YAML.format(url=upstream.url))
        keys = {"acme": add_account(folder, "acme"), "other": add_account(folder, "other"), "own": add_account(folder, "own", tier="own"),
                "paced": add_account(folder, "paced", tier="paced")}
        api = Api(upstream)
        with Guard(folder) as guard:
            check_uploads(checks, guard, upstream, keys)
            check_batches(checks, guard, api, keys)
            check_results(checks, guard, keys)
            check_inline(checks, guard, upstream, keys)
            check_spending(checks, guard, upstream, keys)
            check_estimates(checks, guard, upstream, keys)
            before = {account: spent(guard, account) for account in ("acme", "other")}
            checks.check("SIGTERM ends it", guard.stop() == 0, (folder / "guard.log").read_text())
        with Guard(folder) as guard:
            after = {account: spent(guard, account) for account in before}
            checks.check("what batches hold is restored", after == before, (before, after))
            checks.check("and their files are known", create(guard, keys["acme"], "file-2")[0] == 429)
    checks.end()


if __name__ == "__main__":
    main()
