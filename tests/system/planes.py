"""What the tests of other proxies before the guard share: a running proxy, and what must hold of streams through it."""

import http.client
import json
import signal
import socket
import statistics
import threading
import time

from scripted_upstream import STREAMS, WHOLE, ScriptedUpstream


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Door:
    """A proxy that listens on `port`; `with` ends it."""

    def __init__(self, process, port):
        self.process = process
        self.port = port

    def __enter__(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the proxy ended; see its log"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the proxy doesn't listen")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except Exception:  # pylint: disable=broad-except
            self.process.kill()
            self.process.wait()

    def ask(self, method, path, body=None, key=None, headers=None):
        """(status, headers, bytes) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, path, data, {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()


def check_streaming(checks, door, upstream, chat, key):
    """The first event arrives before the last is sent, and all of them unchanged."""
    path = "/v1/chat/completions"
    events = list(STREAMS[path](chat))
    first_seen = threading.Event()

    def held(handler, _):
        def paced():
            yield events[0]
            held.in_time = first_seen.wait(10)
            yield from events[1:]
        upstream.stream(handler, paced())

    upstream.behaviour[path] = held
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    connection.request("POST", path, json.dumps({**chat, "stream": True}), {"Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    data = response.read1(65536)
    first_seen.set()
    data += response.read()
    connection.close()
    del upstream.behaviour[path]
    whole = b"".join(ScriptedUpstream.frame(kind, document) for kind, document in events)
    checks.check("the first event arrives before the last is sent", response.status == 200 and held.in_time, (response.status, data))
    checks.check("and the stream comes through unchanged", data == whole, data)


def check_abort(checks, door, upstream, chat, key):
    path = "/v1/chat/completions"
    event = next(iter(STREAMS[path](chat)))
    upstream.behaviour[path] = lambda handler, _: upstream.stream(handler, [event] * 2000, pause_s=0.01)
    upstream.aborted.clear()
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    connection.request("POST", path, json.dumps({**chat, "stream": True}), {"Authorization": f"Bearer {key}"})
    connection.getresponse().read(50)
    connection.close()
    checks.check("a caller that leaves stops upstream", upstream.aborted.wait(15))
    del upstream.behaviour[path]


def measure(upstream, ports, chat, key, rounds=400):
    """{name: (median, 99th percentile)} in microseconds of a request at each port, asked in turn over kept connections."""
    path = "/v1/chat/completions"
    data = json.dumps(WHOLE[path](chat)).encode()
    # One write: two would meet Nagle's algorithm and a delayed acknowledgement, 40 ms of nobody's doing.
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data
    upstream.behaviour[path] = lambda handler, _: handler.wfile.write(answer)
    body = json.dumps(chat).encode()
    question = (f"POST {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    times = {name: [] for name in ports}
    connections = {name: socket.create_connection(("127.0.0.1", port)) for name, port in ports.items()}
    for number in range(rounds + 20):
        for name, connection in connections.items():
            begun = time.perf_counter()
            connection.sendall(question)
            received = b""
            while not received.endswith(data[-20:]) and not received.endswith(b"0\r\n\r\n"):
                piece = connection.recv(65536)
                assert piece, (name, received)
                received += piece
            assert received.startswith(b"HTTP/1.1 200"), (name, received)
            if number >= 20:
                times[name].append((time.perf_counter() - begun) * 1e6)
    for connection in connections.values():
        connection.close()
    del upstream.behaviour[path]
    return {name: (round(statistics.median(values)), round(sorted(values)[len(values) * 99 // 100])) for name, values in times.items()}
