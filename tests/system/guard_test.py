"""`retort-guard` before a scripted upstream: who may pass, what is exposed, how answers come through, what is kept."""

import http.client
import json
import pathlib
import re
import socket
import threading
import time

from guard import Guard, add_account, json_of, run_guard
from program import Scenarios, scratch
from scripted_upstream import CHAT_TEXT, REASONING, STREAMS, SUMMARY, ScriptedUpstream, responses_answer

GUARD_YAML = """
listen: 127.0.0.1:0
workers: 2
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
upstreams:
  - {{name: openai, url: "{url}", key_env: UPSTREAM_KEY, models: [small, large, secret]}}
  - {{name: anthropic, dialect: anthropic, url: "{url}/v1", key_env: UPSTREAM_KEY}}
callers: {{path: callers}}
evidence: {{path: evidence, prompts: whole, required: true}}
sealing: {{keys: sealing.json}}
prices:
  small: {{input_per_mtok: 1000, output_per_mtok: 2000, max_output_tokens: 1000}}
  large: {{input_per_mtok: 1000, output_per_mtok: 2000, max_output_tokens: 1000}}
  secret: {{input_per_mtok: 1000, output_per_mtok: 2000, max_output_tokens: 1000}}
tiers:
  verified:
    expose: {{models: [small, large, "claude-*"], logprobs: 5, stored: true}}
  anonymous:
    expose: {{models: [small], reasoning: none, logprobs: 0, seed: false, tools: false, max_output_tokens: 100}}
    limits: {{requests_per_minute: 30}}
  summarised:
    expose: {{reasoning: summary, summary_model: small, stored: true}}
  paid:
    expose: {{models: [small]}}
    limits: {{usd_per_day: 0.5}}
"""

CHAT = {"model": "small", "messages": [{"role": "user", "content": "What is two and two?"}], "max_tokens": 50}
MESSAGES = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": "What is two and two?"}]}


def sse(data):
    events = []
    for block in data.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line]
        if lines:
            events.append((next((line[7:] for line in lines if line.startswith("event: ")), None),
                           "\n".join(line[6:] for line in lines if line.startswith("data: "))))
    return events


def frames(path, body):
    return b"".join(ScriptedUpstream.frame(kind, document) for kind, document in STREAMS[path](body))


def check_callers(checks, guard, keys, upstream):
    before = len(upstream.requests)
    for name, key in (("no key", None), ("a foreign key", "sk-abc"), ("a mistyped key", keys["verified"][:-1] + "x"),
                      ("an unknown key", "rg_" + "a" * 12 + "_" + "b" * 38)):
        status, _, data = guard.ask("POST", "/v1/chat/completions", CHAT, key)
        error = json.loads(data)["error"]
        checks.check(f"{name} is refused", status == 401 and set(error) == {"message", "type", "param", "code"}, data)
    status, headers, data = guard.ask("POST", "/v1/messages", MESSAGES, None, {"x-api-key": "nonsense"})
    checks.check("in Anthropic's form", status == 401 and json.loads(data)["type"] == "error"
                 and headers["x-should-retry"] == "false", (headers, data))
    checks.check("nothing of it reached upstream", len(upstream.requests) == before)
    status, headers, data = guard.ask("POST", "/v1/chat/completions", CHAT, keys["verified"])
    sent = upstream.requests[-1]
    checks.check("a key is let through", status == 200 and json.loads(data)["choices"][0]["message"]["content"] == CHAT_TEXT, data)
    checks.check("with the provider's key instead of its own", sent["headers"].get("Authorization") == "Bearer provider-secret"
                 and keys["verified"] not in json.dumps(sent["headers"]), sent)
    checks.check("with an id of the gateway's", re.fullmatch("[0-9a-f]{32}", headers["x-retort-request-id"]) is not None
                 and headers["x-request-id"] == "upstream-1", headers)
    status, _, _ = guard.ask("POST", "/v1/messages", MESSAGES, None, {"x-api-key": keys["verified"], "anthropic-version": "2023-06-01"})
    sent = upstream.requests[-1]
    checks.check("the other kind of header", status == 200 and sent["headers"].get("x-api-key") == "provider-secret"
                 and sent["path"] == "/v1/messages", sent)


def check_exposure(checks, guard, keys, upstream):
    key = keys["anonymous"]
    status, _, data = guard.ask("POST", "/v1/chat/completions", {**CHAT, "model": "large"}, key)
    checks.check("a model that isn't exposed is not there", status == 404 and json.loads(data)["error"]["code"] == "model_not_found", data)
    status, headers, data = guard.ask("POST", "/v1/chat/completions",
                                      {**CHAT, "logprobs": True, "top_logprobs": 5, "seed": 1, "max_tokens": 500}, key)
    sent = upstream.requests[-1]["body"]
    checks.check("withheld wishes don't reach upstream", status == 200 and "logprobs" not in sent and "top_logprobs" not in sent
                 and "seed" not in sent and sent["max_tokens"] == 100, sent)
    checks.check("and are said", set(headers["x-retort-withheld"].split(", ")) == {"logprobs", "seed", "max_tokens=100", "reasoning"}, headers)
    checks.check("reasoning is taken out", REASONING not in data.decode() and CHAT_TEXT in data.decode(), data)
    status, _, data = guard.ask("POST", "/v1/chat/completions", {**CHAT, "stream": True}, key)
    checks.check("of a stream too", status == 200 and REASONING not in data.decode() and data.endswith(b"data: [DONE]\n\n"), data)
    status, headers, data = guard.ask("POST", "/v1/chat/completions", {**CHAT, "tools": [{"type": "function", "function": {"name": "add"}}]}, key)
    checks.check("what can't be left out is refused", status == 403 and headers["x-should-retry"] == "false", (headers, data))
    for method, path in (("POST", "/v1/batches"), ("POST", "/v1/files"), ("GET", "/v1/chat/completions"), ("POST", "/v1/unknown"),
                         ("POST", "/v1/messages/batches")):
        status, _, data = guard.ask(method, path, {} if method == "POST" else None, key)
        checks.check(f"{method} {path} is refused", status == 403, data)
    status, _, _ = guard.ask("GET", "/elsewhere", None, key)
    checks.check("there is nothing elsewhere", status == 404)
    status, _, data = guard.ask("GET", "/v1/models", None, key)
    checks.check("models are those of the tier", [model["id"] for model in json.loads(data)["data"]] == ["small"], data)
    upstream.behaviour["/v1/models"] = lambda handler, _: upstream.send(handler, 200, {"data": [5, {"id": 5}, {}, {"id": "small"}]})
    status, _, data = guard.ask("GET", "/v1/models", None, key)
    checks.check("whatever upstream lists", status == 200 and json.loads(data)["data"] == [{"id": "small"}], data)
    del upstream.behaviour["/v1/models"]
    for name, body in (("not JSON", b"{"), ("a key twice", b'{"model":"small","model":"large","messages":[]}'),
                       ("no model", b'{"messages":[]}'), ("deep", b'{"model":"small","messages":' + b"[" * 2000 + b"]" * 2000 + b"}"),
                       ("not UTF-8", b'{"model":"small","messages":[{"role":"user","content":"\xff"}]}')):
        status, _, data = guard.ask("POST", "/v1/chat/completions", body, key)
        checks.check(f"a body with {name} is refused", status == 400 and "message" in json.loads(data)["error"], data)


def check_streams(checks, guard, keys):
    key = keys["verified"]
    for path, body in (("/v1/chat/completions", CHAT), ("/v1/chat/completions", {**CHAT, "stream_options": {"include_usage": True}})):
        status, headers, data = guard.ask("POST", path, {**body, "stream": True}, key)
        checks.check("a stream comes through unchanged", status == 200 and data == frames(path, body), data)
        checks.check("and unbuffered", headers["content-type"].startswith("text/event-stream")
                     and headers["x-accel-buffering"] == "no" and headers["cache-control"] == "no-cache", headers)
    status, _, data = guard.ask("POST", "/v1/responses", {"model": "small", "input": "two and two?", "stream": True}, key)
    events = sse(data)
    checks.check("responses: every event", status == 200 and [kind for kind, _ in events]
                 == [kind for kind, _ in STREAMS["/v1/responses"]({"model": "small"})], events)
    checks.check("responses: reasoning is sealed", b"upstream-secret-blob" not in data and data.count(b"rtb1.") >= 2, data)
    status, _, data = guard.ask("POST", "/v1/messages", {**MESSAGES, "stream": True}, None, {"x-api-key": key})
    checks.check("messages: signatures are sealed, the rest is unchanged", b"upstream-signature" not in data
                 and re.sub(rb'"rtb1\.[^"]+"', b'"upstream-signature"', data) == frames("/v1/messages", MESSAGES), data)


def check_summaries(checks, guard, keys, upstream):
    headers = {"x-api-key": keys["summarised"]}
    _, answered, data = guard.ask("POST", "/v1/chat/completions", CHAT, None, headers)
    message = json.loads(data)["choices"][0]["message"]
    checks.check("a summary stands for reasoning", message["reasoning_content"] == SUMMARY and message["content"] == CHAT_TEXT
                 and REASONING not in data.decode() and answered["x-retort-withheld"] == "reasoning", (answered, data))
    _, _, data = guard.ask("POST", "/v1/messages", MESSAGES, None, headers)
    checks.check("in messages", json.loads(data)["content"][0]["thinking"] == SUMMARY and REASONING not in data.decode(), data)
    _, _, data = guard.ask("POST", "/v1/responses", {"model": "small", "input": "x"}, None, headers)
    checks.check("in responses", json.loads(data)["output"][0]["summary"][0]["text"] == SUMMARY and REASONING not in data.decode(), data)
    _, _, data = guard.ask("POST", "/v1/chat/completions", {**CHAT, "stream": True}, None, headers)
    text = data.decode()
    checks.check("before a chat stream's end", SUMMARY in text and text.index(SUMMARY) < text.index("[DONE]") and REASONING not in text
                 and text.count(": x-retort-withheld: reasoning") == 1 and text.endswith("data: [DONE]\n\n"), text)
    _, _, data = guard.ask("POST", "/v1/messages", {**MESSAGES, "stream": True}, None, headers)
    checks.check("a stream of messages goes without", REASONING not in data.decode() and b"message_stop" in data, data)
    upstream.behaviour["/v1/responses/resp_1"] = lambda handler, _: upstream.send(handler, 200, responses_answer({"model": "small"}))
    _, _, data = guard.ask("GET", "/v1/responses/resp_1", None, None, headers)
    checks.check("what the provider kept is shown no further", REASONING not in data.decode() and CHAT_TEXT in data.decode()
                 and "upstream-secret-blob" not in data.decode(), data)
    _, _, data = guard.ask("GET", "/v1/responses/resp_1", None, keys["verified"])
    checks.check("or as far as the tier goes", REASONING in data.decode() and "upstream-secret-blob" not in data.decode(), data)


def check_failures(checks, guard, keys, upstream):
    key = keys["verified"]
    for path, body, end in (("/v1/chat/completions", CHAT, b"[DONE]"), ("/v1/responses", {"model": "small", "input": "x"}, b"response.completed"),
                            ("/v1/messages", MESSAGES, b"message_stop")):
        headers = {"x-api-key": key}
        events = list(STREAMS[path](body))
        for name, cut in (("cut", True), ("ended early", False)):
            upstream.behaviour[path] = lambda handler, _, e=events, c=cut: upstream.stream(handler, e[:3], cut=c)
            status, _, data = guard.ask("POST", path, {**body, "stream": True}, None, headers)
            checks.check(f"{path}: a stream that is {name} ends in an error, never as if whole",
                         status == 200 and end not in data and b'"error"' in sse(data)[-1][1].encode(), data)
        upstream.behaviour[path] = lambda handler, _: (handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le"),
                                                       setattr(handler, "close_connection", True))
        status, _, data = guard.ask("POST", path, body, None, headers)
        checks.check(f"{path}: a broken answer is 502 in its form", status == 502 and "error" in json.loads(data), data)
        upstream.behaviour[path] = lambda handler, _: upstream.send(handler, 529 if "messages" in path else 429,
                                                                    {"error": {"message": "busy"}}, [("retry-after", "7")])
        status, answered, data = guard.ask("POST", path, body, None, headers)
        checks.check(f"{path}: upstream's own errors come through", status in (429, 529) and answered["retry-after"] == "7"
                     and json.loads(data) == {"error": {"message": "busy"}}, (status, answered, data))
        del upstream.behaviour[path]
    def endless(handler, _):
        upstream.stream(handler, [next(iter(STREAMS["/v1/chat/completions"](CHAT)))] * 2000, pause_s=0.01)
    upstream.behaviour["/v1/chat/completions"] = endless
    upstream.aborted.clear()
    connection = http.client.HTTPConnection("127.0.0.1", guard.port, timeout=10)
    connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": True}), {"Authorization": f"Bearer {key}"})
    connection.getresponse().read(50)
    connection.close()
    checks.check("a caller that leaves stops upstream", upstream.aborted.wait(10))
    del upstream.behaviour["/v1/chat/completions"]


def check_budget(checks, guard, keys, upstream):
    """Each answer costs 11 x 0.001 + 7 x 0.002 = 0.025 USD; the worst case is far more, and bounds what runs at once."""
    seen = {}
    lock = threading.Lock()
    upstream.delay_s = 0.02

    def caller():
        for _ in range(3):
            status, headers, data = guard.ask("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 10}, keys["paid"])
            with lock:
                seen[status] = seen.get(status, 0) + 1
                if status == 429:
                    seen["code"] = json.loads(data)["error"]["code"]
                    seen["retry"] = headers["x-should-retry"]

    threads = [threading.Thread(target=caller) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    upstream.delay_s = 0
    spent = json.loads(guard.admin("GET", "/admin/spending/paid")[1])
    checks.check("many callers on one budget", seen.get(200, 0) > 0 and seen.get(429, 0) > 0 and seen["code"] == "insufficient_quota"
                 and seen["retry"] == "false", seen)
    checks.check("never pass it, and it adds up", spent["reserved_usd"] == 0 and abs(spent["settled_usd"] - 0.025 * seen[200]) < 1e-9
                 and spent["settled_usd"] <= 0.5, (spent, seen))
    return spent["settled_usd"]


def check_sealing(checks, guard, keys, upstream):
    tool = {"type": "tool_result", "tool_use_id": "x", "content": "4"}

    def turn(key, answer, first="What is two and two?", headers=None):
        conversation = [{"role": "user", "content": first}, {"role": "assistant", "content": answer["content"]},
                        {"role": "user", "content": [tool]}]
        return guard.ask("POST", "/v1/messages", {**MESSAGES, "messages": conversation}, None, {"x-api-key": key, **(headers or {})})

    _, _, data = guard.ask("POST", "/v1/messages", MESSAGES, None, {"x-api-key": keys["verified"]})
    answer = json.loads(data)
    signature = answer["content"][0]["signature"]
    checks.check("a signature is sealed", signature.startswith("rtb1.") and "upstream" not in signature, data)
    status, _, data = turn(keys["verified"], answer)
    checks.check("and comes back to upstream as it was", status == 200
                 and upstream.requests[-1]["body"]["messages"][1]["content"][0]["signature"] == "upstream-signature", data)
    status, _, _ = turn(keys["colleague"], answer)
    checks.check("also from a colleague", status == 200)
    long = {**MESSAGES, "messages": [{"role": "user", "content": "What is two and two? " * 20_000}]}
    _, _, data = guard.ask("POST", "/v1/messages", long, None, {"x-api-key": keys["verified"]})
    content = json.loads(data)["content"]
    checks.check("after a long conversation, too", content[0]["signature"].startswith("rtb1.") and content[1]["text"] == CHAT_TEXT, data)
    before = len(upstream.requests)
    status, _, data = turn(keys["stranger"], answer)
    checks.check("from another organisation it is refused", status == 400 and json.loads(data)["type"] == "error"
                 and len(upstream.requests) == before, data)
    forged = json.loads(json.dumps(answer))
    forged["content"][0]["signature"] = signature[:40] + ("A" if signature[40] != "A" else "B") + signature[41:]
    checks.check("changed, too", turn(keys["verified"], forged)[0] == 400)
    status, headers, data = turn(keys["verified"], answer, first="Something else.")
    sent = upstream.requests[-1]["body"]["messages"]
    checks.check("an edited conversation is served without it", status == 200 and headers["x-retort-withheld"] == "reasoning_blobs"
                 and all(block["type"] != "thinking" for block in sent[1]["content"]), (headers, sent))


def check_steps(checks, guard, keys):
    key = keys["verified"]
    set_step = lambda step, **more: guard.admin("POST", "/admin/steps", {"account": "verified", "step": step, "by": "Jane", "reason": "a test", **more})
    checks.check("admin needs its credential", guard.admin("GET", "/metrics", token="wrong")[0] == 401)
    checks.check("and is not on the public listener", guard.ask("GET", "/metrics")[0] in (401, 404)
                 and guard.ask("POST", "/admin/steps", {})[0] in (401, 404))
    status, data = set_step("strip_logprobs")
    step = json.loads(data)["id"]
    _, headers, _ = guard.ask("POST", "/v1/chat/completions", {**CHAT, "logprobs": True}, key)
    checks.check("a step takes hold", status == 200 and headers.get("x-retort-withheld") == "logprobs", headers)
    guard.admin("POST", f"/admin/steps/{step}/undo", {"by": "Joe"})
    _, headers, _ = guard.ask("POST", "/v1/chat/completions", {**CHAT, "logprobs": True}, key)
    checks.check("and is taken back", "x-retort-withheld" not in headers, headers)
    checks.check("a block needs a person", guard.admin("POST", "/admin/steps", {"account": "verified", "step": "block", "reason": "x"})[0] == 400)
    step = json.loads(set_step("block")[1])["id"]
    status, headers, data = guard.ask("POST", "/v1/chat/completions", CHAT, key)
    checks.check("a blocked account is told so", status == 403 and json.loads(data)["error"]["code"] == "account_blocked"
                 and headers["x-should-retry"] == "false", data)
    guard.admin("POST", f"/admin/steps/{step}/undo", {"by": "Joe"})
    set_step("ask_verification", hours=0.0001)
    time.sleep(0.5)
    checks.check("steps expire", guard.ask("POST", "/v1/chat/completions", CHAT, key)[0] == 200)
    steps = json.loads(guard.admin("GET", "/admin/steps")[1])["steps"]
    checks.check("all are kept", len(steps) == 3 and {s.get("undone_by") for s in steps} == {None, "Joe"}, steps)


def check_smuggling(checks, guard, keys, upstream):
    body = json.dumps(CHAT).encode()
    auth = f"Authorization: Bearer {keys['verified']}\r\n".encode()
    smuggled = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n" + auth + b"Content-Length: %d\r\n\r\n" % len(body) + body
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n" + auth
    corpus = {
        "both lengths": head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
        "two lengths": head + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        "another coding": head + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled,
        "a space before the colon": head + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled,
        "a folded line": head + b"X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + smuggled,
        "bare line feeds": head.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + smuggled,
        "a bare line feed in the chunks": head + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + smuggled,
        "a negative chunk": head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n" + smuggled,
        "a huge chunk": head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n" + smuggled,
        "a zero byte": head + b"X: a\0b\r\nContent-Length: 0\r\n\r\n" + smuggled,
    }
    for name, data in corpus.items():
        before = len(upstream.requests)
        with socket.create_connection(("127.0.0.1", guard.port), timeout=10) as connection:
            connection.sendall(data)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        checks.check(f"smuggling, {name}: refused, and nothing passes", answer.startswith(b"HTTP/1.1 400")
                     and answer.count(b"\r\n\r\n") == 1 and len(upstream.requests) == before, answer)
    before = len(upstream.requests)
    with socket.create_connection(("127.0.0.1", guard.port), timeout=10) as connection:
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x;ext=1\r\n" % len(body) + body + b"\r\n0\r\nTrailer: x\r\n\r\n"
        connection.sendall(chunked + smuggled + smuggled.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    checks.check("chunks, extensions and pipelining are three requests", answer.count(b"HTTP/1.1 200") == 3
                 and len(upstream.requests) == before + 3
                 and all(sent["raw"] == body and "Transfer-Encoding" not in sent["headers"] for sent in upstream.requests[-3:]), answer)


def check_evidence(checks, folder, guard_keys, settled):
    code, out, errors = run_guard(["verify", "evidence", "--json"], folder)
    report = json.loads(out or "{}")
    checks.check("the chain verifies", code == 0, (out, errors))
    code, out, errors = run_guard(["export", "--out", "exchanges.jsonl", "guard.yaml"], folder, {"UPSTREAM_KEY": "x", "GUARD_ADMIN": "y"})
    checks.check("evidence is exported", code == 0, (out, errors))
    if code != 0:
        return
    lines = [json.loads(line) for line in (folder / "exchanges.jsonl").read_text().splitlines()]
    paid = [line for line in lines if line["account"] == "paid" and line.get("status") == 200]
    checks.check("every answer is there", len(paid) == round(settled / 0.025) and report, (len(paid), settled))
    checks.check("with what was asked and answered", paid and paid[0]["dialect"] == "openai.chat" and paid[0]["model"] == "small"
                 and paid[0]["request"]["messages"] == CHAT["messages"] and paid[0]["completion"]["text"] == CHAT_TEXT
                 and paid[0]["usage"] == {"input": 11, "output": 7, "reasoning": 3} and paid[0]["client"]["ip"] == "127.0.0.1", paid[:1])
    messages = [line for line in lines if line.get("dialect") == "anthropic.messages" and line.get("completion", {}).get("finish") == "end_turn"]
    lost = [line for line in messages if (line["completion"].get("text"), line["completion"].get("reasoning") or line.get("hidden_reasoning"))
            != (CHAT_TEXT, REASONING)]
    checks.check("with its reasoning, sealed, shown or not", len(messages) > 5 and not lost, lost[:1])
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for name, key in guard_keys.items():
        checks.check(f"the key of {name} is kept nowhere", key.encode() not in everything and key.split("_")[2].encode() not in everything)
    checks.check("nor the provider's", b"provider-secret" not in everything)
    checks.check("nor a prompt in clear", b"What is two and two?" not in everything.replace((folder / "exchanges.jsonl").read_bytes(), b""))


def main():
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        (folder / "guard.yaml").write_text(GUARD_YAML.format(url=upstream.url))
        keys = {"verified": add_account(folder, "verified", organisation="acme"), "colleague": add_account(folder, "colleague", organisation="acme"),
                "stranger": add_account(folder, "stranger", organisation="other"),
                "anonymous": add_account(folder, "anonymous", tier="anonymous"), "paid": add_account(folder, "paid", tier="paid"),
                "summarised": add_account(folder, "summarised", tier="summarised")}
        code, out, errors = run_guard(["check", "guard.yaml"], folder, {"UPSTREAM_KEY": "x", "GUARD_ADMIN": "y"})
        checks.check("check explains", code == 0 and "tier anonymous: 30 requests a minute" in out, out + errors)
        with Guard(folder) as guard:
            checks.check("healthz and readyz", guard.ask("GET", "/healthz")[0] == 200 and guard.ask("GET", "/readyz")[0] == 200)
            check_callers(checks, guard, keys, upstream)
            check_exposure(checks, guard, keys, upstream)
            check_streams(checks, guard, keys)
            check_summaries(checks, guard, keys, upstream)
            check_failures(checks, guard, keys, upstream)
            check_sealing(checks, guard, keys, upstream)
            check_steps(checks, guard, keys)
            check_smuggling(checks, guard, keys, upstream)
            settled = check_budget(checks, guard, keys, upstream)
            checks.check("nothing is left under way", guard.metric("under_way ") == 0 and guard.metric("streams ") == 0)
            checks.check("SIGTERM ends it", guard.stop() == 0, (folder / "guard.log").read_text())
        with Guard(folder) as guard:
            spent = json.loads(guard.admin("GET", "/admin/spending/paid")[1])
            checks.check("the day's spending outlives the process", abs(spent["settled_usd"] - settled) < 1e-9, (spent, settled))
        check_evidence(checks, folder, keys, settled)
    checks.end()


if __name__ == "__main__":
    main()
