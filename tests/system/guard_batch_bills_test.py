"""Batches through `retort-guard` are settled once, with what their answers used: told by the batch, or counted in its results. Until then
they hold the most they may cost; through kills, and whichever of two guards sees the bill."""

import json
import pathlib
import time

from guard import Guard, add_account, json_of
from guard_batches_test import MESSAGES, form, line
from program import Scenarios, scratch
from scripted_upstream import ScriptedUpstream, chat_answer, message_answer

GUARD_YAML = """
listen: 127.0.0.1:0
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
upstreams:
  - {{name: openai, url: "{url}", models: [small]}}
  - {{name: anthropic, dialect: anthropic, url: "{url}", models: [claude]}}
evidence: {{path: {evidence}, prompts: none, required: true}}
prices:
  small: {{input_per_mtok: 1000, output_per_mtok: 2000, batch_factor: 0.5, max_output_tokens: 400}}
  claude: {{input_per_mtok: 1000, output_per_mtok: 2000, cache_write_per_mtok: 1000, max_output_tokens: 400}}
tiers:
  verified: {{expose: {{batch: true, files: true}}, limits: {{usd_per_day: 1}}}}
"""
HOLD = (20 + 100 * 2) * 0.0005  # a line's text in bytes, max_tokens, half the price; what the text is beside is left out
BILL = (11 + 7 * 2) * 0.0005    # what chat_answer() says it used


class Provider:
    """Batches of both APIs, in memory: a test says how each stands and what is in its results."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.made = 0
        self.states = {}
        self.break_off = False
        upstream.behaviour.update({"/v1/files": lambda handler, _: upstream.send(handler, 200, {"id": "file-in", "object": "file"}),
                                   "/v1/batches": self.create, "/v1/messages/batches": self.create})

    def create(self, handler, _):
        if handler.command == "GET":
            self.upstream.send(handler, 200, {"object": "list", "data": list(self.states.values())})
            return
        self.made += 1
        anthropic = "messages" in handler.path
        self.set(f"batch-{self.made}", **({"type": "message_batch", "processing_status": "in_progress"} if anthropic
                                          else {"object": "batch", "status": "validating"}))
        self.upstream.send(handler, 200, self.states[f"batch-{self.made}"])

    def set(self, batch, **state):
        self.states[batch] = {"id": batch, **state}
        for path in (f"/v1/batches/{batch}", f"/v1/messages/batches/{batch}", f"/v1/batches/{batch}/cancel"):
            self.upstream.behaviour[path] = lambda handler, _: self.upstream.send(handler, 200, self.states[batch])

    def results(self, path, documents):
        def send(handler, _):
            data = "".join(json.dumps(document) + "\n" for document in documents).encode()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[:len(data) // 2] if self.break_off else data)
            handler.close_connection = self.break_off
        self.upstream.behaviour[path] = send


def answered(count):
    body = chat_answer({"model": "small", "messages": MESSAGES})
    return [{"custom_id": str(i), "response": {"status_code": 200, "body": body}, "error": None} for i in range(count)]


def upload(guard, key):
    status, _, data = guard.ask("POST", "/v1/files", form([line(1)]), key, {"Content-Type": "multipart/form-data; boundary=b0"})
    assert status == 200, data


def create(guard, key):
    status, _, data = guard.ask("POST", "/v1/batches",
                                {"input_file_id": "file-in", "endpoint": "/v1/chat/completions", "completion_window": "24h"}, key)
    assert status == 200, data
    return json.loads(data)["id"]


def spent(guard):
    told = json.loads(guard.admin("GET", "/admin/spending/acme")[1])
    return round(told["settled_usd"], 9), round(told["reserved_usd"], 9)


def check_told_by_the_batch(checks, guard, provider, key):
    """Returns what one batch holds, and what is settled."""
    upload(guard, key)
    batch = create(guard, key)
    settled, held = spent(guard)
    checks.check("a batch holds half the price of its worst case", settled == 0 and HOLD <= held < 1.5 * HOLD, held)
    guard.ask("GET", f"/v1/batches/{batch}", key=key)
    provider.set(batch, object="batch", status="in_progress", usage={"input_tokens": 1, "output_tokens": 1})
    guard.ask("GET", f"/v1/batches/{batch}", key=key)
    checks.check("one that goes on isn't settled", spent(guard) == (0, held), spent(guard))
    provider.set(batch, object="batch", status="completed", output_file_id="file-out", request_counts={"completed": 1},
                 usage={"input_tokens": 11, "output_tokens": 7, "total_tokens": 18})
    status, _, data = guard.ask("GET", f"/v1/batches/{batch}", key=key)
    checks.check("what it says passes as it is", status == 200 and json.loads(data) == provider.states[batch], data)
    checks.check("what it used is what it costs", spent(guard) == (round(BILL, 9), 0), spent(guard))
    provider.results("/v1/files/file-out/content", answered(5))
    guard.ask("GET", "/v1/batches", key=key)
    guard.ask("GET", "/v1/files/file-out/content", key=key)
    checks.check("once", spent(guard) == (round(BILL, 9), 0), spent(guard))
    checks.check("and counted", guard.metric("settled_batches_total") == 1 and abs(guard.metric("batches_usd_total") - BILL) < 1e-9)
    return held, BILL


def check_counted_in_results(checks, guard, provider, key, held, settled):
    batch = create(guard, key)
    provider.set(batch, object="batch", status="expired", output_file_id="file-2", request_counts={"total": 9, "completed": 2})
    guard.ask("GET", "/v1/batches?limit=5", key=key)
    checks.check("a batch that doesn't say what it used waits", spent(guard)[1] == held, spent(guard))
    provider.results("/v1/files/file-2/content", answered(2) + [{"custom_id": "3", "response": {"status_code": 400, "body": {"error": {}}}}])
    provider.break_off = True
    try:
        guard.ask("GET", "/v1/files/file-2/content", key=key)
    except OSError:
        pass
    except Exception as broken:  # pylint: disable=broad-except  # http.client.IncompleteRead
        checks.check("results that are cut off are cut off", type(broken).__name__ == "IncompleteRead", broken)
    checks.check("half of its results are no bill", spent(guard)[1] == held, spent(guard))
    provider.break_off = False
    status, _, data = guard.ask("GET", "/v1/files/file-2/content", key=key)
    checks.check("results pass", status == 200 and len(data.splitlines()) == 3, data)
    settled += 2 * BILL
    checks.check("and are what an expired batch costs", spent(guard) == (round(settled, 9), 0), spent(guard))
    for state in ({"status": "failed", "errors": {}}, {"status": "cancelled", "request_counts": {"total": 1, "completed": 0}}):
        batch = create(guard, key)
        provider.set(batch, object="batch", **state)
        guard.ask("POST", f"/v1/batches/{batch}/cancel", {}, key)
        checks.check(f"without answers nothing is owed: {state['status']}", spent(guard) == (round(settled, 9), 0), spent(guard))
    return settled


def check_messages(checks, guard, provider, key, settled):
    headers = {"anthropic-version": "2023-06-01"}
    wish = {"model": "claude", "max_tokens": 10, "messages": MESSAGES}
    _, _, data = guard.ask("POST", "/v1/messages/batches", {"requests": [{"custom_id": "0", "params": wish}]}, key, headers)
    batch = json.loads(data)["id"]
    checks.check("a list holds its worst case", spent(guard)[1] >= 0.04, spent(guard))
    provider.set(batch, type="message_batch", processing_status="ended", request_counts={"succeeded": 1, "expired": 1})
    guard.ask("GET", f"/v1/messages/batches/{batch}", key=key, headers=headers)
    checks.check("until its results are seen", spent(guard)[1] >= 0.04, spent(guard))
    message = {**message_answer({"model": "claude"}), "usage": {"input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 4}}
    provider.results(f"/v1/messages/batches/{batch}/results",
                     [{"custom_id": "0", "result": {"type": "succeeded", "message": message}}, {"custom_id": "1", "result": {"type": "expired"}}])
    guard.ask("GET", f"/v1/messages/batches/{batch}/results", key=key, headers=headers)
    settled += 0.005 + 0.008
    checks.check("which are what it costs", spent(guard) == (round(settled, 9), 0), spent(guard))
    return settled


def check_killed(checks, folder, provider, key, held, settled):
    with Guard(folder) as guard:
        checks.check("killed: what was settled is restored", spent(guard) == (round(settled, 9), 0), spent(guard))
        first, second = create(guard, key), create(guard, key)
        guard.kill()
    with Guard(folder) as guard:
        checks.check("killed: what batches hold is restored", spent(guard) == (round(settled, 9), round(2 * held, 9)), (spent(guard), held))
        status = guard.ask("POST", "/v1/chat/completions", {"model": "small", "messages": MESSAGES, "max_tokens": 400}, key)[0]
        checks.check("killed: and counts", status == 429, status)
        provider.set(first, object="batch", status="completed", request_counts={"completed": 1}, usage={"input_tokens": 11, "output_tokens": 7})
        guard.ask("GET", f"/v1/batches/{first}", key=key)
        settled += BILL
        checks.check("killed: the bill settles it", spent(guard) == (round(settled, 9), held), spent(guard))
        guard.kill()
    (folder / "other.yaml").write_text((folder / "guard.yaml").read_text().replace("path: evidence", "path: other-evidence"))
    with Guard(folder, "other.yaml") as other:
        provider.set(second, object="batch", status="completed", request_counts={"completed": 1}, usage={"input_tokens": 22, "output_tokens": 14})
        other.ask("GET", f"/v1/batches/{second}", key=key)
        checks.check("another guard that sees a bill has nothing to settle", spent(other) == (0, 0), spent(other))
        with Guard(folder) as guard:
            settled += 2 * BILL
            checks.check("killed: it is settled by who holds it", guard.wait(lambda: spent(guard) == (round(settled, 9), 0)), spent(guard))
            third = create(guard, key)
            provider.set(third, object="batch", status="failed", errors={})
            other.ask("GET", f"/v1/batches/{third}", key=key)
            checks.check("also while it runs", guard.wait(lambda: spent(guard) == (round(settled, 9), 0)), spent(guard))
            guard.kill()
    with Guard(folder) as guard:
        time.sleep(1.2)
        checks.check("killed: once", spent(guard) == (round(settled, 9), 0), spent(guard))
        checks.check("and it ends in order", guard.stop() == 0)
    checks.check("the chain verifies", json_of(["verify", "evidence"], folder) is not None)


def main():
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        (folder / "guard.yaml").write_text(GUARD_YAML.format(url=upstream.url, evidence="evidence"))
        key = add_account(folder, "acme")
        provider = Provider(upstream)
        with Guard(folder) as guard:
            held, settled = check_told_by_the_batch(checks, guard, provider, key)
            settled = check_counted_in_results(checks, guard, provider, key, held, settled)
            settled = check_messages(checks, guard, provider, key, settled)
            guard.kill()
        check_killed(checks, folder, provider, key, held, settled)
    checks.end()


if __name__ == "__main__":
    main()
