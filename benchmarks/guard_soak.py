#!/usr/bin/env python3
"""`retort-guard` under a fixed load for minutes: does its memory, or the number of its descriptors, grow?

    benchmarks/guard_soak.py BUILD_FOLDER [--seconds N] [--rate N] [--connections N] [--workers N]

Whole and streamed answers of all three dialects, callers that leave before and in the middle of an answer, refusals, texts kept as
evidence under a quota, sealed reasoning, and meanwhile: reloads, keys made and revoked, steps set and taken back. Every ten seconds
a line; at the end the slope of the resident memory without the first minute. Ends with 1 where something grows, an answer was not as
expected, or the evidence doesn't verify."""

import argparse
import asyncio
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/system"))
from scripted_upstream import STREAMS, WHOLE, ScriptedUpstream  # noqa: E402 pylint: disable=wrong-import-position

MOST_SLOPE_MIB_MIN = 1.0
MOST_MORE_DESCRIPTORS = 8
WARM_S = 60
PAUSE_S = 0.01  # between two frames of a stream, so that there is a middle to leave in

GUARD = """listen: 127.0.0.1:0
workers: {workers}
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
upstreams:
  - {{name: openai, url: "http://127.0.0.1:{upstream}", models: [small]}}
  - {{name: anthropic, dialect: anthropic, url: "http://127.0.0.1:{upstream}"}}
callers: {{path: callers}}
network: {{lists: [{{kind: vpn, path: vpn.txt}}]}}
evidence: {{path: evidence, prompts: whole, required: true, quota_mb: {quota}}}
sealing: {{keys: sealing.json}}
prices:
  small: {{input_per_mtok: 1, output_per_mtok: 2, max_output_tokens: 1000}}
  claude-x: {{input_per_mtok: 1, output_per_mtok: 2, max_output_tokens: 1000}}
tiers:
  verified:
    expose: {{models: [small, "claude-*"]}}
    limits: {{requests_per_minute: {requests}, usd_per_day: 1000000}}
"""
PROMPT = "What is two and two? " * 20
BODIES = {
    "/v1/chat/completions": {"model": "small", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 50},
    "/v1/responses": {"model": "small", "input": PROMPT, "max_output_tokens": 50},
    "/v1/messages": {"model": "claude-x", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 50},
}
# What a caller does, and how often: of ten.
TURNS = ["whole"] * 4 + ["streamed"] * 3 + ["left in a stream", "left before the answer", "refused"]


async def read_head(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    return lines[0], {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}


class Upstream:
    """A model API of all dialects; answers are made once."""

    def __init__(self):
        self.whole = {path: json.dumps(WHOLE[path](body)).encode() for path, body in BODIES.items()}
        self.frames = {}
        for path, body in BODIES.items():
            asked = {**body, "stream_options": {"include_usage": True}}
            self.frames[path] = [ScriptedUpstream.frame(kind, document) for kind, document in STREAMS[path](asked)]
        self.port = None

    async def start(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def serve(self, reader, writer):
        try:
            while True:
                line, headers = await read_head(reader)
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))))
                path = line.split(" ")[1]
                if not body.get("stream"):
                    await asyncio.sleep(PAUSE_S)
                    data = self.whole[path]
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                    await writer.drain()
                    continue
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                for frame in self.frames[path]:
                    writer.write(b"%x\r\n" % len(frame) + frame + b"\r\n")
                    await writer.drain()
                    await asyncio.sleep(PAUSE_S)
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # cancelled at the end of all
            pass
        finally:
            writer.close()


class Callers:
    def __init__(self, port, key):
        self.port = port
        self.key = key
        self.counts = dict.fromkeys(TURNS, 0)
        self.unexpected = {}

    async def run(self, number, every_s, end):
        """One caller: a turn each `every_s` seconds, on one connection as long as it holds."""
        turn = number * 7
        due = time.monotonic() + every_s * (number % 97) / 97
        connection = None
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += every_s
            kind = TURNS[turn % len(TURNS)]
            path = list(BODIES)[turn // len(TURNS) % len(BODIES)]
            turn += 1
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", self.port)
                stays, problem = await asyncio.wait_for(self.take(kind, path, *connection), 30)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                stays, problem = False, type(error).__name__
            self.counts[kind] += 1
            if problem:
                self.unexpected[f"{kind} {path}: {problem}"] = self.unexpected.get(f"{kind} {path}: {problem}", 0) + 1
            if not stays and connection:
                connection[1].close()
                connection = None
        if connection:
            connection[1].close()

    async def take(self, kind, path, reader, writer):
        """(whether the connection may be used again, what was unexpected)"""
        stream = "stream" in kind
        body = json.dumps({**BODIES[path], **({"stream": True} if stream else {})}).encode()
        key = self.key[:-1] if kind == "refused" else self.key
        writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nx-api-key: {key}\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if kind == "left before the answer":
            await writer.drain()
            await asyncio.sleep(PAUSE_S / 2)
            return False, None
        line, headers = await read_head(reader)
        status = line.split(" ")[1]
        if kind == "left in a stream":
            await reader.read(10)
            return False, None if status == "200" else status
        data = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                data += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            data = await reader.readexactly(int(headers["content-length"]))
        if kind == "refused":
            return True, None if status == "401" else status
        ended = (b"[DONE]" in data or b"response.completed" in data or b"message_stop" in data) if stream else data.endswith(b"}")
        return headers.get("connection") != "close", None if status == "200" and ended and b'"error": {' not in data else status


class Guard:
    def __init__(self, program, folder, upstream, arguments):
        self.program = program
        self.folder = folder
        self.settings = {"upstream": upstream, "workers": arguments.workers, "quota": arguments.quota_mb}
        self.requests = 1_000_000_000
        self.environment = {**os.environ, "GUARD_ADMIN": "admin-secret"}
        self.replace("vpn.txt", "198.51.100.0/24\n")
        self.configure()
        self.run("orgs", "add", "guard.yaml", "acme", "--by", "soak")
        self.key = json.loads(self.run("keys", "create", "guard.yaml", "--account", "caller", "--organisation", "acme", "--tier",
                                       "verified", "--by", "soak", "--json"))["secret"]
        with open(folder / "guard.log", "wb") as log:
            self.process = subprocess.Popen([program, "serve", "guard.yaml", "--patience", "20"], cwd=folder, env=self.environment,
                                            stdout=subprocess.PIPE, stderr=log)
        self.port, self.admin_port = (int(self.process.stdout.readline().rsplit(b":", 1)[1]) for _ in range(2))

    def configure(self):
        self.requests += 1
        self.replace("guard.yaml", GUARD.format(**self.settings, requests=self.requests))

    def replace(self, name, text):
        """Never half of it is there to be read."""
        fresh = self.folder / (name + ".new")
        fresh.write_text(text)
        fresh.replace(self.folder / name)

    def run(self, *command):
        return subprocess.run([self.program, *command], cwd=self.folder, env=self.environment, check=True, capture_output=True,
                              text=True).stdout

    async def admin(self, method, path, body=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port)
        data = json.dumps(body or {}).encode()
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer admin-secret\r\nConnection: close\r\n"
                     f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        _, headers = await read_head(reader)
        answer = await reader.readexactly(int(headers["content-length"]))
        writer.close()
        return answer.decode()

    async def metric(self, name):
        text = await self.admin("GET", "/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"retort_guard_{name}"))

    def kib(self, what):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(what + r":\s+(\d+)", status).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def disturb(self, end):
        """What an operator does meanwhile, far more often than one would."""
        loop = asyncio.get_running_loop()
        second = 0
        while time.monotonic() < end - 2:
            await asyncio.sleep(1)
            second += 1
            if second % 2 == 0:
                self.configure()
            if second % 7 == 0:
                self.replace("vpn.txt", f"198.51.100.{second % 256}/32\n")
            if second % 5 == 0:
                step = json.loads(await self.admin("POST", "/admin/steps", {"account": "caller", "step": "flag", "by": "soak",
                                                                            "reason": "soak", "hours": 1}))["id"]
                await self.admin("POST", f"/admin/steps/{step}/undo", {"by": "soak"})
            if second % 11 == 0:
                made = json.loads(await loop.run_in_executor(None, self.run, "keys", "create", "guard.yaml", "--account", "caller",
                                                             "--by", "soak", "--json"))["id"]
                await loop.run_in_executor(None, self.run, "keys", "revoke", "guard.yaml", made, "--by", "soak")


async def watch(guard, callers, begin, end):
    """A line each ten seconds; (seconds, KiB of RSS, descriptors) of each."""
    samples = []
    print(f"{'s':>5}{'RSS MiB':>10}{'anon MiB':>10}{'descriptors':>13}{'requests':>10}{'unexpected':>12}{'CPU s':>8}")
    while time.monotonic() < end:
        await asyncio.sleep(min(10.0, max(0.0, end - time.monotonic())))
        samples.append((time.monotonic() - begin, guard.kib("VmRSS"), guard.descriptors()))
        print(f"{samples[-1][0]:5.0f}{samples[-1][1] / 1024:10.2f}{guard.kib('RssAnon') / 1024:10.2f}{samples[-1][2]:13}"
              f"{sum(callers.counts.values()):10,}{sum(callers.unexpected.values()):12}{guard.cpu_s():8.1f}", flush=True)
    return samples


def slope_of(samples):
    times = [sample[0] / 60 for sample in samples]
    sizes = [sample[1] / 1024 for sample in samples]
    return statistics.linear_regression(times, sizes).slope


async def soak(program, folder, arguments):
    upstream = Upstream()
    server = await upstream.start()
    guard = Guard(program, folder, upstream.port, arguments)
    complaints = []
    try:
        idle = guard.descriptors()
        callers = Callers(guard.port, guard.key)
        begin = time.monotonic()
        end = begin + arguments.seconds
        every_s = arguments.connections / arguments.rate
        tasks = [asyncio.create_task(callers.run(number, every_s, end)) for number in range(arguments.connections)]
        tasks.append(asyncio.create_task(guard.disturb(end)))
        samples = await watch(guard, callers, begin, end)
        await asyncio.gather(*tasks)
        deadline = time.monotonic() + 10
        while await guard.metric("under_way") + await guard.metric("streams") > 0 and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        left = await guard.metric("under_way") + await guard.metric("streams")
        spool = sum(file.stat().st_size for file in (folder / "evidence").rglob("*") if file.is_file())
        print(f"requests: {callers.counts}; reloads: {await guard.metric('reloads_total'):.0f}, failed "
              f"{await guard.metric('failed_reloads_total'):.0f}; aborts seen: {await guard.metric('client_aborts_total'):.0f}; "
              f"evidence: {await guard.metric('evidence_records_total'):,.0f} records, {spool / 2**20:.0f} MiB")
        warm = [sample for sample in samples if sample[0] > WARM_S]
        if await guard.metric("failed_reloads_total") > 0:
            complaints.append("a configuration was not taken over")
        if callers.unexpected:
            complaints.append(f"not as expected: {callers.unexpected}")
        if left > 0:
            complaints.append(f"{left:.0f} requests or streams never ended")
        if len(warm) >= 6:
            slope = slope_of(warm)
            third = len(warm) // 3
            early, late = (statistics.median(sample[2] for sample in part) for part in (warm[:third], warm[-third:]))
            print(f"without the first minute: {slope:+.3f} MiB/min of RSS; descriptors {early:.0f} early, {late:.0f} late ({idle} when idle)")
            if slope > MOST_SLOPE_MIB_MIN:
                complaints.append(f"memory grows by {slope:.2f} MiB/min; at most {MOST_SLOPE_MIB_MIN} were expected")
            if late > early + MOST_MORE_DESCRIPTORS:
                complaints.append("the number of open descriptors grows")
        else:
            print("too short for a slope: give it three minutes")
        guard.process.terminate()
        if (code := guard.process.wait(60)) != 0:
            complaints.append(f"it ended with {code}")
        print("verify:", guard.run("verify", "guard.yaml").strip().splitlines()[0])
    except subprocess.CalledProcessError as error:
        complaints.append(f"{error.cmd[1]} failed: {error.stderr}")
    finally:
        if guard.process.poll() is None:
            guard.process.kill()
            guard.process.wait()
        server.close()
    log = (folder / "guard.log").read_text()
    said = {re.sub(r"\d+", "N", line) for line in log.splitlines()}
    print("log:", *sorted(said), sep="\n  ")
    return complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--rate", type=int, default=200, help="requests a second, of all callers together")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quota-mb", type=int, default=4096)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="retort-guard-soak-") as name:
        complaints = asyncio.run(soak((arguments.build / "bin/retort-guard").resolve(), pathlib.Path(name), arguments))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
