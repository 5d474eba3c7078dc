"""`retort-guard` beside direct access, nginx and Portkey's gateway: requests a second, added latency, idle streams and their memory,
paced streams. Everything on loopback, one worker each, the targets in turn, several rounds; figures are medians of the rounds and
ratios within them.

    benchmarks/guard.py BUILD_FOLDER [--rounds N] [--seconds S] [--streams N] [--portkey FOLDER]

Needs nginx and wrk (scripts/packages-bench.txt). Portkey's folder is one with node_modules/@portkey-ai/gateway in it."""

import argparse
import json
import os
import pathlib
import re
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ANSWER = json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "small", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "a" * 560}, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 200, "total_tokens": 220}})
BODY = json.dumps({"model": "small", "messages": [{"role": "user", "content": "hello " * 50}], "max_tokens": 200})
FRAME = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"small","choices":[{"index":0,"delta":{"content":"%020d"},"finish_reason":null}]}\n\n'

NGINX = """daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
 fastcgi_temp_path {folder}/x1; uwsgi_temp_path {folder}/x2; scgi_temp_path {folder}/x3;
{body} }}"""
UPSTREAM = """ server {{ listen 127.0.0.1:{port}; default_type application/json; location / {{ return 200 '{answer}'; }} }}"""
PROXY = """ upstream u {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
 proxy_buffering off; proxy_request_buffering off; }} }}"""
GUARD = """listen: 127.0.0.1:0
workers: 1
upstreams: [{{name: a, url: "http://127.0.0.1:{upstream}"}}]
{evidence}tiers: {{verified: {{limits: {{requests_per_minute: 1000000000}}}}}}
"""
KINDS = {"guard": "", "guard, evidence without texts": "evidence: {path: evidence-none, prompts: none, required: true}\n",
         "guard, evidence with sketches": "evidence: {path: evidence-sketch, prompts: sketch, required: true}\n"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Bench:
    def __init__(self, build, folder):
        self.guard_program = build / "bin/retort-guard"
        self.folder = folder
        self.processes = []

    def start(self, *command, **more):
        process = subprocess.Popen(command, cwd=self.folder, **more)
        self.processes.append(process)
        return process

    def nginx(self, name, body):
        (self.folder / f"{name}.conf").write_text(NGINX.format(folder=self.folder, name=name, body=body))
        self.start("nginx", "-c", str(self.folder / f"{name}.conf"), stderr=subprocess.DEVNULL)

    def guard(self, name, upstream, evidence):
        file = re.sub("[^a-z]", "-", name) + ".yaml"
        (self.folder / file).write_text(GUARD.format(upstream=upstream, evidence=evidence))
        process = self.start(str(self.guard_program), "serve", file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return process, process.stdout.readline().decode().removeprefix("listening on ").strip()

    def key(self):
        made = subprocess.run([self.guard_program, "keys", "create", "--callers", "callers", "--account", "a", "--tier", "verified", "--by",
                               "bench", "--json"], cwd=self.folder, check=True, capture_output=True, text=True)
        return json.loads(made.stdout)["secret"]

    def wrk(self, url, key, connections, seconds, more=""):
        script = self.folder / "post.lua"
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        if more:
            headers.update(json.loads(more))
        script.write_text(f"wrk.method='POST'\nwrk.body=[==[{BODY}]==]\n" + "".join(f"wrk.headers['{n}']='{v}'\n" for n, v in headers.items())
                          + "done=function(s,l,r) io.write(string.format('RESULT %d %d %f %f\\n', s.requests, s.errors.status+s.errors.read"
                            "+s.errors.connect+s.errors.timeout, l:percentile(50), l:percentile(99))) end\n")
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url + "/v1/chat/completions"],
                             capture_output=True, text=True, check=True, cwd=self.folder).stdout
        requests, errors, p50, p99 = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+)", out).groups()
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
        if int(errors) > 0:
            sys.exit(f"{url} answered {errors} of {requests} requests with errors; nothing was measured.")
        return rate, float(p50), float(p99)

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def compare(bench, targets, key, rounds, seconds, extra):
    rates = {name: [] for name in targets}
    latency = {name: [] for name in targets}
    for _ in range(rounds):
        for name, url in targets.items():
            rates[name].append(bench.wrk(url, key, 32, seconds, extra.get(name, ""))[0])
            latency[name].append(bench.wrk(url, key, 1, max(1, seconds // 2), extra.get(name, ""))[1:])
    print(f"{'':32}{'requests/s':>12}{'of nginx':>10}{'added p50':>12}{'added p99':>12}   (us at concurrency 1)")
    for name in targets:
        rate = statistics.median(rates[name])
        of_nginx = statistics.median(a / b for a, b in zip(rates[name], rates["nginx"]))
        p50 = statistics.median(a[0] - b[0] for a, b in zip(latency[name], latency["direct"]))
        p99 = statistics.median(a[1] - b[1] for a, b in zip(latency[name], latency["direct"]))
        print(f"{name:32}{rate:12,.0f}{of_nginx:10.2f}{p50:12.0f}{p99:12.0f}")


class StreamServer(threading.Thread):
    """An upstream of event streams on one thread: each gets a frame every `pace` seconds (0: only the first), until it is closed."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.pace = 0.0
        self.frames = 0

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        streams = {}
        due = time.monotonic()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            if not self.pace:
                due = time.monotonic()
            timeout = max(0.0, due - time.monotonic()) if self.pace and streams else 0.01
            for found, _ in selector.select(timeout):
                if found.fileobj is self.listener:
                    try:
                        stream = self.listener.accept()[0]
                    except BlockingIOError:
                        continue
                    stream.setblocking(False)
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(stream, selectors.EVENT_READ)
                    continue
                stream = found.fileobj
                try:
                    data = stream.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    selector.unregister(stream)
                    stream.close()
                    streams.pop(stream, None)
                elif data.endswith(b"}"):
                    frame = FRAME % time.monotonic_ns()
                    stream.send(head + b"%x\r\n%s\r\n" % (len(frame), frame))
                    streams[stream] = True
            # Streams have their turns one after the other, evenly over the pace: no burst that nobody has in life.
            while self.pace and streams and time.monotonic() >= due:
                due = max(due + self.pace / len(streams), time.monotonic() - 0.05)
                stream = next(iter(streams))
                streams[stream] = streams.pop(stream)  # to the end of the line
                frame = FRAME % time.monotonic_ns()
                try:
                    stream.send(b"%x\r\n%s\r\n" % (len(frame), frame))
                    self.frames += 1
                except OSError:
                    streams.pop(stream)


def open_streams(port, key, count):
    body = json.dumps({**json.loads(BODY), "stream": True}).encode()
    request = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (key.encode(), len(body))) + body
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(request)
        streams.append(stream)
    for stream in streams:
        stream.settimeout(20)
        if b"data: " not in stream.recv(65536):
            stream.recv(65536)
    return streams


def rss_kib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))


def idle_streams(bench, server, key, counts):
    process, url = bench.guard("idle", server.port, "")
    streams = []
    sizes = []
    for count in counts:
        streams += open_streams(int(url.rsplit(":", 1)[1]), key, count - len(streams))
        time.sleep(1)
        sizes.append(rss_kib(process))
    slope = (sizes[-1] - sizes[0]) / (counts[-1] - counts[0])
    print("idle streams: " + ", ".join(f"{count}: {size:,} KiB" for count, size in zip(counts, sizes)) + f"; {slope:.1f} KiB a stream")
    for stream in streams:
        stream.close()


def paced_streams(bench, server, key, count, seconds):
    """Frames carry the time they were sent at; what is compared is how late they are."""
    process, url = bench.guard("paced", server.port, "evidence: {path: evidence-paced, prompts: sketch, required: true}\n")
    results = {}
    for name, port in (("direct", server.port), ("guard", int(url.rsplit(":", 1)[1]))):
        streams = open_streams(port, key, count)
        selector = selectors.DefaultSelector()
        for stream in streams:
            stream.setblocking(False)
            selector.register(stream, selectors.EVENT_READ)
        server.frames = 0
        server.pace = 0.02 * max(1, count // 128)  # one Python thread writes them all
        late, frames, end = [], 0, time.monotonic() + seconds
        rest = {}
        while time.monotonic() < end + 0.5:
            if time.monotonic() > end:
                server.pace = 0
            for found, _ in selector.select(0.1):
                data = rest.pop(found.fileobj, b"") + found.fileobj.recv(65536)
                now = time.monotonic_ns()
                sent = re.findall(rb'"content":"(\d{20})"', data)
                cut = data.rfind(b"\n\n")
                rest[found.fileobj] = data[cut + 2:] if cut >= 0 else data
                late += [(now - int(stamp)) / 1e6 for stamp in sent]
                frames += len(sent)
        results[name] = (server.frames, frames, sorted(late))
        for stream in streams:
            stream.close()
        time.sleep(0.3)
    direct_p99 = results["direct"][2][int(len(results["direct"][2]) * 0.99)]
    for name, (sent, seen, late) in results.items():
        print(f"paced, {count} streams, {name}: {sent:,} frames sent, {seen:,} seen; late p50 {late[len(late) // 2]:.2f} ms, p99 "
              f"{late[int(len(late) * 0.99)]:.2f} ms, worst {late[-1]:.2f} ms; {sum(1 for ms in late if ms > direct_p99 + 5):,} later than "
              f"the direct p99 + 5 ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--portkey", type=pathlib.Path)
    arguments = parser.parse_args()
    for tool in ("nginx", "wrk"):
        if shutil.which(tool) is None:
            sys.exit(f"There is no {tool} here; install it to run this benchmark.")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = os.getloadavg()[0]
    print(f"load average before: {load:.1f}" + (" (the machine is busy: trust ratios alone)" if load > 0.5 else ""))
    with tempfile.TemporaryDirectory(prefix="retort-guard-bench-") as name:
        bench = Bench(arguments.build.resolve(), pathlib.Path(name))
        try:
            upstream, proxy = free_port(), free_port()
            bench.nginx("upstream", UPSTREAM.format(port=upstream, answer=ANSWER))
            bench.nginx("proxy", PROXY.format(port=proxy, upstream=upstream))
            key = bench.key()
            targets = {"direct": f"http://127.0.0.1:{upstream}", "nginx": f"http://127.0.0.1:{proxy}"}
            extra = {}
            for kind, evidence in KINDS.items():
                targets[kind] = bench.guard(kind, upstream, evidence)[1]
            if arguments.portkey:
                port = free_port()
                bench.start("node", str(arguments.portkey / "node_modules/@portkey-ai/gateway/build/start-server.js"), f"--port={port}", "--headless",
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                targets["Portkey"] = f"http://127.0.0.1:{port}"
                extra["Portkey"] = json.dumps({"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"})
                time.sleep(4)
            time.sleep(1)
            compare(bench, targets, key, arguments.rounds, arguments.seconds, extra)
            server = StreamServer()
            server.start()
            idle_streams(bench, server, key, (512, 1024, 2048, 4096))
            paced_streams(bench, server, key, arguments.streams, 10)
        finally:
            bench.end()


if __name__ == "__main__":
    main()
