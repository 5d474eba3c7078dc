"""An OpenAI-compatible API in a test that answers as a script says: well, badly, or not at all.

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


def answer_body(question, output_tokens=20, text=None):
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
        self.seen = {}
        self.headers = []
        self.paths = []
        self.lock = threading.Lock()
        self.in_flight = 0
        self.most_in_flight = 0
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
                    pending += client.recv(65536)
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
        if not path.endswith("/chat/completions"):
            client.sendall(response(404, error_body("nothing here")))
            return True
        question = json.loads(body)["messages"][-1]["content"]
        if question == "Say OK.":
            client.sendall(response(200, answer_body(question, 1)))
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
        finally:
            with self.lock:
                self.in_flight -= 1


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
