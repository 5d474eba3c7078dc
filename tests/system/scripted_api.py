"""An API of OpenAI's or Anthropic's kind in a test that answers as a script says: well, badly, or not at all. With batches.

Every connection is a raw socket on loopback, so that a fault can be anything that bytes can be. What was asked is kept in
`seen`, by question, in order.
"""

import json
import random
import socket
import ssl
import struct
import threading
import time
import zlib

ANSWER = "The answer to '{}' is a sentence that is neither short nor long."


def response(status, body, headers=()):
    """The bytes of a whole response."""
    body = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body)}",
             "x-request-id: scripted", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def question_of(asked):
    """The last message of what a request holds."""
    content = asked["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def answer_body(question, output_tokens=20, text=None, anthropic=False):
    if anthropic:
        return json.dumps({"id": "scripted", "type": "message", "model": "scripted-1", "stop_reason": "end_turn",
                           "content": [{"type": "text", "text": text or ANSWER.format(question)}],
                           "usage": {"input_tokens": 10, "output_tokens": output_tokens}}, ensure_ascii=False)
    return json.dumps({
        "id": "scripted", "model": "scripted-1",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": text or ANSWER.format(question)}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": output_tokens}}, ensure_ascii=False)


def error_body(message, code=None):
    return json.dumps({"error": {"message": message, "type": "scripted", "param": None, "code": code}})


class ScriptedApi:
    """`script(question, times, random)` gives what is done: bytes to send, a float to wait, or "cut"; a list of them."""

    def __init__(self, script=None, seed=1, certificate=None, delay_s=0.0):
        self.script = script or (lambda question, times, rng: [response(200, answer_body(question))])
        self.random = random.Random(seed)
        self.delay_s = delay_s
        self.probe = None  # a script for what finds out what the API can give
        self.seen = {}
        self.headers = []
        self.paths = []
        self.lock = threading.Lock()
        self.in_flight = 0
        self.most_in_flight = 0
        self.batches = BatchDesk(self)
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.socket.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    @property
    def requests(self):
        return sum(len(times) for times in self.seen.values())

    def _accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                client = self.tls.wrap_socket(client, server_side=True)
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    more = client.recv(65536)
                    if not more:
                        return
                    pending += more
                head, _, pending = pending.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                length = int(fields.get("content-length", 0))
                while len(pending) < length:
                    more = client.recv(1 << 20)
                    if not more:
                        return
                    pending += more
                body, pending = pending[:length], pending[length:]
                if not self._answer(client, lines[0].split(" ")[1], fields, body):
                    return
        except OSError:
            pass
        finally:
            client.close()

    def _answer(self, client, path, fields, body):
        with self.lock:
            self.headers.append(fields)
            self.paths.append(path)
        steps = self.batches.answer(path, body)
        if steps is not None:
            return self._carry_out(client, steps)
        if not path.endswith(("/chat/completions", "/messages")):
            client.sendall(response(404, error_body("nothing here")))
            return True
        question = question_of(json.loads(body))
        if question == "Say OK." and self.probe:
            return self._carry_out(client, self.probe(question, 0, self.random))
        if question == "Say OK.":
            client.sendall(response(200, answer_body(question, 1, anthropic=path.endswith("/messages"))))
            return True
        with self.lock:
            times = self.seen.setdefault(question, [])
            times.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            steps = self.script(question, len(times) - 1, self.random)
        try:
            if self.delay_s:
                time.sleep(self.delay_s)
            return self._carry_out(client, steps)
        finally:
            with self.lock:
                self.in_flight -= 1

    @staticmethod
    def _carry_out(client, steps):
        for step in steps:
            if step == "cut":
                # A reset rather than an orderly end.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if isinstance(step, float):
                time.sleep(step)
            else:
                client.sendall(step)
        return True


class BatchDesk:
    """The batch APIs of both dialects. What is asked in a batch is in the API's `seen` once it was worked on.

    `ends_s`: how long a batch takes. `fate(question, times, random)`: "answered", "expired", "error", "refused" or
    "missing". `trouble(kind, random)`: steps instead of the answer to a call of the kind upload, create, look, list or
    results, or None; with `done` as the first of them the call is carried out all the same."""

    def __init__(self, api):
        self.api = api
        self.enabled = False
        self.ends_s = 0.5
        self.fate = lambda question, times, rng: "answered"
        self.trouble = lambda kind, rng: None
        self.files = {}
        self.made = []
        self.in_vain = 0  # requests that were worked on and came to nothing

    def answer(self, path, body):
        """Steps, or None where the path isn't one of a batch API."""
        path = path[len("/v1"):] if path.startswith("/v1") else path
        place, _, _ = path.partition("?")
        root = "/messages/batches" if place.startswith("/messages/batches") else "/batches"
        if not self.enabled:
            return None
        if place == "/files":
            kind = "upload"
        elif place.endswith(("/content", "/results")):
            kind = "results"
        elif place == root:
            kind = "create" if body else "list"
        elif place.startswith(root + "/"):
            kind = "look"
        else:
            return None
        with self.api.lock:
            trouble = self.trouble(kind, self.api.random)
            if trouble is not None and trouble[:1] != ["done"]:
                return trouble
            whole = response(*self._carry_out(kind, place, body, root != "/batches"))
        return [whole] if trouble is None else trouble[1:]

    def _carry_out(self, kind, place, body, anthropic):
        for batch in self.made:
            self._proceed(batch)
        if kind == "upload":
            self.files[f"file-{len(self.files) + 1}"] = body
            return 200, json.dumps({"id": f"file-{len(self.files)}", "object": "file", "purpose": "batch"})
        if kind == "create":
            asked = json.loads(body)
            if anthropic:
                requests = [(one["custom_id"], one["params"]) for one in asked["requests"]]
            else:
                lines = [json.loads(line) for line in self.files[asked["input_file_id"]].split(b"\n") if line.startswith(b'{"custom_id"')]
                requests = [(line["custom_id"], line["body"]) for line in lines]
            batch = {"id": f"batch_{len(self.made) + 1}", "requests": requests, "anthropic": anthropic, "ended": False,
                     "metadata": asked.get("metadata"), "ends_at": time.monotonic() + self.ends_s, "out": [], "err": []}
            self.made.append(batch)
            return 200, json.dumps(self._state(batch))
        if kind == "list":
            return 200, json.dumps({"data": [self._state(batch) for batch in reversed(self.made)], "has_more": False})
        for batch in self.made:
            if place.endswith(f"/{batch['id']}"):
                return 200, json.dumps(self._state(batch))
            if place.endswith((f"/{batch['id']}/results", f"/out-{batch['id']}/content")):
                return 200, "".join(line + "\n" for line in batch["out"])
            if place.endswith(f"/err-{batch['id']}/content"):
                return 200, "".join(line + "\n" for line in batch["err"])
        return 404, error_body("no such batch")

    def _state(self, batch):
        count = len(batch["requests"])
        if batch["anthropic"]:
            return {"id": batch["id"], "type": "message_batch", "processing_status": "ended" if batch["ended"] else "in_progress",
                    "request_counts": {"processing": 0 if batch["ended"] else count, "succeeded": count if batch["ended"] else 0}}
        return {"id": batch["id"], "object": "batch", "status": "completed" if batch["ended"] else "in_progress",
                "metadata": batch["metadata"], "request_counts": {"total": count},
                "output_file_id": f"out-{batch['id']}" if batch["out"] else None,
                "error_file_id": f"err-{batch['id']}" if batch["err"] else None}

    def _proceed(self, batch):
        if batch["ended"] or time.monotonic() < batch["ends_at"]:
            return
        batch["ended"] = True
        for custom_id, asked in batch["requests"]:
            question = question_of(asked)
            times = self.api.seen.setdefault(question, [])
            fate = self.fate(question, len(times), self.api.random)
            times.append(time.monotonic())
            self.in_vain += fate != "answered"
            line, good = self._line(custom_id, question, fate, batch["anthropic"])
            if line is not None:
                batch["out" if good or batch["anthropic"] else "err"].append(json.dumps({"custom_id": custom_id, **line}))
        # In no order.
        self.api.random.shuffle(batch["out"])

    def _line(self, custom_id, question, fate, anthropic):
        if fate == "missing":
            return None, False
        answer = json.loads(answer_body(question, self.api.random.randrange(1, 65), anthropic=anthropic))
        if anthropic:
            kinds = {"refused": "invalid_request_error", "error": "api_error"}
            return {"result": {"type": "succeeded", "message": answer} if fate == "answered" else {"type": "expired"}
                    if fate == "expired" else {"type": "errored", "error": {"type": kinds[fate], "message": "no"}}}, True
        if fate == "expired":
            return {"response": None, "error": {"code": "batch_expired", "message": "late"}}, False
        status = {"answered": 200, "refused": 400, "error": 500}[fate]
        return {"response": {"status_code": status, "request_id": custom_id,
                             "body": answer if status == 200 else json.loads(error_body("no"))}, "error": None}, status == 200


def fault(question, rng):
    """One of the faults of the world, as steps."""
    whole = response(200, answer_body(question))
    broken = answer_body(question, text="BROKEN")
    kind = rng.randrange(14)
    if kind == 0:
        return [response(rng.choice([408, 409, 425, 429, 500, 502, 503, 504, 520, 529]), error_body("busy"),
                         ["Retry-After-Ms: 20"])]
    if kind == 1:
        return [whole[:rng.randrange(len(whole))], "cut"]
    if kind == 2:
        return [whole[:rng.randrange(len(whole))], 0.01, "cut"]
    if kind == 3:  # a slow drip that gives up
        return [part for byte in whole[:20] for part in (bytes([byte]), 0.002)] + ["cut"]
    if kind == 4:
        return [response(200, broken).replace(b"application/json", b"text/html")]
    if kind == 5:  # half a character
        return [response(200, b'{"choices":[{"finish_reason":"stop","message":{"content":"BROKEN \xc3"}}]}')]
    if kind == 6:  # no end
        return [response(200, broken.replace('"stop"', "null"))]
    if kind == 7:
        return [response(200, broken[:-5])]
    if kind == 8:  # a stream that ends before its end
        stream = b'data: {"choices":[{"delta":{"content":"BROKEN"}}]}\n\n'
        return [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + stream, "cut"]
    if kind == 9:  # 80 MB in 80 kB
        bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
        data = bomb.compress(b"0" * 80_000_000) + bomb.flush()
        return [response(200, data, ["Content-Encoding: gzip"])]
    if kind == 10:  # a line of 10 MB that isn't JSON
        return [response(200, b"x" * 10_000_000)]
    if kind == 11:  # not HTTP
        return [b"\x00\x01\x02garbage\r\n\r\n", "cut"]
    if kind == 12:  # two answers to one question
        return [response(200, broken.replace('"stop"', '"stop"},{"finish_reason":"stop","message":{"content":"BROKEN"}')),
                "cut"]
    return [response(200, error_body("an error that says 200"))]
