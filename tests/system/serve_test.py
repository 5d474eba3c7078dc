"""`retort serve` from outside, over loopback: every path, streams, errors, scoring, company, leaving and draining."""

import concurrent.futures
import json
import pathlib
import signal
import socket
import sys
import time

from program import Scenarios, make_models, run, scratch
from server import Server, events

MODEL = "models/tiny.gguf"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def chat(**more):
    return {"model": "tiny", "messages": [{"role": "user", "content": "hello you"}], "max_tokens": 20, "seed": 3, **more}


def completion(**more):
    return {"model": "tiny", "prompt": "hello you", "max_tokens": 20, "seed": 3, **more}


def paths_and_errors(server, checks):
    status, models = server.ask("GET", "/v1/models")
    checks.check("the list of models", status == 200 and [m["id"] for m in models["data"]] == ["tiny"], models)
    checks.check("one model", server.ask("GET", "/v1/models/tiny")[1]["object"] == "model")
    cases = [
        ("an unknown model", "POST", CHAT, chat(model="gpt"), 404, "model_not_found", "model"),
        ("an unknown model's page", "GET", "/v1/models/gpt", None, 404, "model_not_found", "model"),
        ("an unknown path", "GET", "/v1/engines", None, 404, "unknown_url", None),
        ("a wrong method", "GET", CHAT, None, 405, "method_not_allowed", None),
        ("no object", "POST", CHAT, [], 400, None, None),
        ("tools", "POST", CHAT, chat(tools=[{"type": "function"}]), 400, "unsupported_parameter", "tools"),
        ("a misspelt member", "POST", COMPLETIONS, completion(max_token=3), 400, "unknown_parameter", "max_token"),
        ("too long", "POST", COMPLETIONS, completion(max_tokens=300), 400, "context_length_exceeded", "prompt"),
        ("too large", "POST", COMPLETIONS, completion(prompt="x" * (17 << 20)), 413, None, None),
        ("an id of no token", "POST", COMPLETIONS, completion(prompt=[5, 99999]), 400, None, "prompt"),
    ]
    for name, method, path, body, status, code, param in cases:
        got, answer = server.ask(method, path, body)
        error = (answer or {}).get("error", {})
        checks.check(name, got == status and set(error) == {"message", "type", "param", "code"} and error["code"] == code
                     and error["param"] == param and error["message"].endswith((".", "?")), (got, answer))


def answers(server, checks):
    _, whole = server.ask("POST", CHAT, chat(logprobs=True, top_logprobs=3))
    choice = whole["choices"][0]
    content = choice["logprobs"]["content"]
    checks.check("a chat", choice["message"]["role"] == "assistant" and choice["finish_reason"] in ("stop", "length"), whole)
    checks.check("its logprobs", all(len(t["top_logprobs"]) == 3 and t["top_logprobs"][0]["logprob"] >= t["logprob"]
                                     for t in content), content)
    checks.check("its usage", whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"]
                 + whole["usage"]["completion_tokens"] and 0 < whole["usage"]["completion_tokens"] <= 20, whole["usage"])
    checks.check("the same seed, the same answer", server.ask("POST", CHAT, chat())[1]["choices"][0]["message"]
                 == choice["message"])
    _, several = server.ask("POST", CHAT, chat(n=3))
    texts = [c["message"]["content"] for c in several["choices"]]
    checks.check("n answers", len(texts) == 3 and texts[0] == choice["message"]["content"] and len(set(texts)) > 1, texts)

    connection, response = server.stream(CHAT, chat(stream_options={"include_usage": True}))
    parts = list(events(response))
    connection.close()
    text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts[:-2])
    checks.check("a stream says the same", text == choice["message"]["content"], (text, choice))
    checks.check("a stream's type", response.headers["Content-Type"].startswith("text/event-stream"))
    checks.check("a stream's end", parts[-1] == "[DONE]" and parts[-2]["usage"] == whole["usage"]
                 and parts[-3]["choices"][0]["finish_reason"] == choice["finish_reason"], parts[-3:])

    _, greedy = server.ask("POST", COMPLETIONS, completion(temperature=0, ignore_eos=True, max_tokens=40))
    text = greedy["choices"][0]["text"]
    stop = text[len(text) // 2:][:2]
    for stream in (False, True):
        body = completion(temperature=0, ignore_eos=True, max_tokens=40, stop=[stop, "never said"])
        if stream:
            connection, response = server.stream(COMPLETIONS, body)
            parts = [part for part in events(response) if part != "[DONE]"]
            connection.close()
            stopped = "".join(part["choices"][0]["text"] for part in parts)
            reason = parts[-1]["choices"][0]["finish_reason"]
        else:
            stopped, reason = (server.ask("POST", COMPLETIONS, body)[1]["choices"][0][key] for key in ("text", "finish_reason"))
        checks.check(f"a stop string (stream: {stream})", stopped == text.split(stop)[0] and reason == "stop",
                     (stopped, text, stop, reason))

    forms = ["hello you", ["hello you"], None, None]
    ids = server.ask("POST", COMPLETIONS, completion(max_tokens=0, return_token_ids=True))[1]["choices"][0]["prompt_token_ids"]
    forms[2:] = [ids, [ids]]
    given = [server.ask("POST", COMPLETIONS, completion(prompt=form))[1]["choices"][0]["text"] for form in forms]
    checks.check("prompts of every form", len(set(given)) == 1, given)


def scoring(folder, server, checks, tolerance):
    text = "hello, the user in us: 3 + 4 = 7? Ü"
    code, out, err = run(["score", "-m", MODEL, "--json"], folder, text.encode())
    expected = [token["logprob"] for token in json.loads(out)["tokens"]] if code == 0 else err
    _, answer = server.ask("POST", COMPLETIONS, completion(prompt=text, max_tokens=0, echo=True, logprobs=5))
    choice = answer["choices"][0]
    got = choice["logprobs"]["token_logprobs"]
    near = len(got) == len(expected) and got[0] is None and expected[0] is None and all(
        abs(a - b) < tolerance for a, b in zip(got[1:], expected[1:]))
    checks.check(f"a given text is scored as `retort score` does, to {tolerance}", near, (got, expected))
    checks.check("the text comes back", choice["text"] == text and answer["usage"]["completion_tokens"] == 0, choice["text"])
    # What was said with logprobs is what scoring the same ids says.
    _, said = server.ask("POST", COMPLETIONS, completion(prompt=text, max_tokens=30, logprobs=1, return_token_ids=True,
                                                        ignore_eos=True))
    ids = said["choices"][0]["prompt_token_ids"] + said["choices"][0]["token_ids"]
    _, again = server.ask("POST", COMPLETIONS, completion(prompt=ids, max_tokens=0, echo=True, logprobs=1))
    total = sum(said["choices"][0]["logprobs"]["token_logprobs"])
    total_again = sum(again["choices"][0]["logprobs"]["token_logprobs"][-30:])
    checks.check("sums agree", abs(total - total_again) < 30 * tolerance, (total, total_again))


def company(server, checks):
    """More at once than fit: each answer as if it had been asked alone."""
    bodies = [completion(prompt="hello " * (1 + i % 5), temperature=0, max_tokens=10 + i, ignore_eos=True) for i in range(24)]

    def ask(body):
        return server.ask("POST", COMPLETIONS, body)[1]["choices"][0]["text"]

    alone = [ask(body) for body in bodies]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        together = list(pool.map(ask, bodies))
    checks.check("in company as alone", alone == together, list(zip(alone, together)))


def long_answer(**more):
    return completion(prompt=[5, 6, 7], n=32, max_tokens=240, ignore_eos=True, **more)


def leaving(server, checks):
    """A client that goes away frees what it held."""
    connection, response = server.stream(COMPLETIONS, long_answer())
    next(events(response))
    busy = server.ask("GET", "/health")[1]
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    start = time.monotonic()
    while (now := server.ask("GET", "/health")[1])["running"] + now["waiting"] > 0 and time.monotonic() - start < 30:
        time.sleep(0.01)
    checks.check("a client that leaves", busy["running"] == 4 and now["running"] + now["waiting"] == 0, (busy, now))


def draining(folder, checks, number):
    with Server(folder, MODEL, "--parallel", "4", "--ctx-size", "256") as server:
        connection, response = server.stream(COMPLETIONS, long_answer())
        stream = events(response)
        parts = [next(stream)]
        server.stop(number)
        refused = False
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            except ConnectionRefusedError:
                refused = True
                break
            except ConnectionResetError:  # it was waiting to be accepted when the server stopped accepting
                pass
            time.sleep(0.01)
        running = server.process.poll() is None
        parts += list(stream)
        connection.close()
        code, rest = server.wait()
        done = [part for part in parts[:-1] if part["choices"][0]["finish_reason"] == "length"]
        checks.check(f"draining after {number.name}", refused and running and len(done) == 32 and parts[-1] == "[DONE]"
                     and code == 0 and rest == "", (refused, running, len(done), parts[-1], code, rest))


def bad_beginnings(folder, server, checks):
    cases = [
        ("a taken port", ["serve", MODEL, "--port", str(server.port)], "choose another port"),
        ("no such model", ["serve", "models/none.gguf", "--port", "0"], "none.gguf"),
        ("no model", ["serve", "models/text.gguf", "--port", "0"], "text.gguf"),
        ("an unknown host", ["serve", MODEL, "--port", "0", "--host", "no such host"], "no such host"),
        ("too long a context", ["serve", MODEL, "--port", "0", "--ctx-size", "100000"], "trained with"),
        ("a port out of range", ["serve", MODEL, "--port", "70000"], "port"),
    ]
    for name, arguments, says in cases:
        code, _, err = run(arguments, folder, timeout_s=60)
        checks.check(name, code == 2 and says in err, (code, err))


def main():
    checks = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        with Server(folder, MODEL, "--parallel", "4", "--ctx-size", "256") as server:
            checks.check("not ready, then ready", set(server.statuses) <= {200, 503}, server.statuses)
            paths_and_errors(server, checks)
            answers(server, checks)
            scoring(folder, server, checks, 0.02)
            company(server, checks)
            leaving(server, checks)
            bad_beginnings(folder, server, checks)
            server.stop()
            checks.check("one line, and 0 at the end", server.wait() == (0, ""))
        with Server(folder, MODEL, "--exact") as server:
            scoring(folder, server, checks, 2e-5)
        with Server(folder, "models/no_template.gguf") as server:
            status, answer = server.ask("POST", CHAT, {"model": "no_template", "messages": [{"role": "user", "content": "a"}]})
            checks.check("a model without a template", status == 400 and "template" in answer["error"]["message"], answer)
        with Server(folder, "models/nan.gguf") as server:
            status, answer = server.ask("POST", COMPLETIONS, {"model": "nan", "prompt": "a", "logprobs": 1})
            checks.check("a model of NaN", status == 500 and "not a number" in answer["error"]["message"].replace(
                "not numbers", "not a number"), answer)
        for number in (signal.SIGTERM, signal.SIGINT):
            draining(folder, checks, number)
    checks.end()


if __name__ == "__main__":
    sys.exit(main())
