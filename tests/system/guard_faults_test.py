"""`retort-guard` when the world goes wrong: killed at random, reloaded under load, its disk full, its lists damaged, its
upstream and its callers behaving badly.

RETORT_TEST_SEED (default 1), RETORT_TEST_KILLS (default 6) and RETORT_TEST_RELOADS (default 100) choose the run."""

import gzip
import http.client
import json
import os
import pathlib
import random
import re
import resource
import socket
import threading
import time

from guard import Guard, add_account, json_of, run_guard
from program import Scenarios, scratch
from scripted_upstream import CHAT_TEXT, STREAMS, ScriptedUpstream

SEED = int(os.environ.get("RETORT_TEST_SEED", "1"))
KILLS = int(os.environ.get("RETORT_TEST_KILLS", "6"))
RELOADS = int(os.environ.get("RETORT_TEST_RELOADS", "100"))
CHAT = {"model": "small", "messages": [{"role": "user", "content": "What is two and two?"}], "max_tokens": 10}
COST = 11 * 0.001 + 7 * 0.002
GUARD_YAML = """
listen: 127.0.0.1:0
workers: 2
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
upstreams: [{{name: openai, url: "{url}", models: [small]}}]
evidence: {{path: {evidence}, prompts: sketch, required: {required}, quota_mb: {quota}}}
prices: {{small: {{input_per_mtok: 1000, output_per_mtok: 2000, max_output_tokens: 1000}}}}
network: {{lists: [{{kind: vpn, path: vpn.txt}}], rules: [{{name: vpns, kinds: [vpn], outcome: flag}}]}}
tiers: {{verified: {{limits: {{usd_per_day: {budget}}}}}}}
"""


def write(folder, url, evidence="evidence", required="true", quota=100, budget=1_000_000):
    (folder / "vpn.txt").write_text("198.51.100.0/24\n")
    (folder / "guard.yaml").write_text(GUARD_YAML.format(url=url, evidence=evidence, required=required, quota=quota, budget=budget))


class Callers:
    """Threads that ask until they are told to stop; what they saw."""

    def __init__(self, guard, key, count, body=None):
        self.seen = {}
        self.lost = 0
        self.failed = []
        self.stop_asking = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.ask, args=(guard.port, key, body or CHAT)) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def ask(self, port, key, body):
        connection = None
        data = json.dumps(body)
        while not self.stop_asking.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("POST", "/v1/chat/completions", data, {"Authorization": f"Bearer {key}"})
                response = connection.getresponse()
                answer = response.read()
                with self.lock:
                    self.seen[response.status] = self.seen.get(response.status, 0) + 1
                    if response.status not in (200, 429):
                        self.failed.append(answer)
            except (OSError, http.client.HTTPException):
                connection = None
                with self.lock:
                    self.lost += 1
                time.sleep(0.01)

    def end(self):
        self.stop_asking.set()
        for thread in self.threads:
            thread.join()


def check_killed(checks, folder, upstream, key):
    """What the restarted guard says was spent is what was answered, and the worst case of what nobody knows of."""
    generator = random.Random(SEED)
    seen = lost = 0
    before = len(upstream.requests)
    spent = []
    for _ in range(KILLS):
        with Guard(folder) as guard:
            spent.append(json.loads(guard.admin("GET", "/admin/spending/acme")[1])["settled_usd"])
            callers = Callers(guard, key, 8)
            time.sleep(generator.uniform(0.1, 0.6))
            guard.kill()
            callers.end()
            seen += callers.seen.get(200, 0)
            checks.check("killed: every answer was one", set(callers.seen) <= {200}, (callers.seen, callers.failed[:2]))
        report = json_of(["verify", "evidence"], folder)
        checks.check("killed: the chain verifies", report is not None, report)
    with Guard(folder) as guard:
        spent.append(json.loads(guard.admin("GET", "/admin/spending/acme")[1])["settled_usd"])
        checks.check("killed: it ends in order", guard.stop() == 0)
    code, _, errors = run_guard(["export", "guard.yaml", "--out", "killed.jsonl"], folder)
    checks.check("killed: evidence is exported", code == 0, errors)
    lines = [json.loads(line) for line in (folder / "killed.jsonl").read_text().splitlines()]
    whole = sum(1 for line in lines if line.get("status") == 200)
    open_ended = len(lines) - whole
    sent = len(upstream.requests) - before
    checks.check("killed: nobody has an answer without its record", whole >= seen, (whole, seen))
    checks.check("killed: nothing reached upstream without its record", len(lines) >= sent, (len(lines), sent))
    checks.check("killed: at most what was under way is open", open_ended <= 8 * KILLS, open_ended)
    # The worst case of CHAT: its body's text in bytes, and 10 tokens.
    least = whole * COST
    checks.check("killed: the budget adds up", least - 1e-9 <= spent[-1] <= least + open_ended * 0.2 + 1e-9 and spent == sorted(spent),
                 (spent, least, open_ended))


def check_reloads(checks, folder, upstream, key):
    with Guard(folder) as guard:
        callers = Callers(guard, key, 8)
        for number in range(RELOADS):
            text = (folder / "guard.yaml").read_text()
            (folder / "guard.yaml").write_text(text + f"# {number}\n")
            status, answer = guard.admin("POST", "/admin/reload")
            if status != 200:
                checks.check("reload", False, answer)
        (folder / "guard.yaml").write_text("listen: [nonsense\n")
        checks.check("reload: a broken file is refused", guard.admin("POST", "/admin/reload")[0] == 400)
        (folder / "guard.yaml").write_text(text)
        (folder / "vpn.txt").write_text("not a network\n")
        time.sleep(1.2)  # the guard looks twice a second
        checks.check("reload: a damaged list is told, and the old one stays", "vpn.txt" in (folder / "guard.log").read_text())
        before = guard.metric("reloads_total")
        (folder / "vpn.txt").write_text("127.0.0.0/8\n")
        checks.check("reload: a good one is taken over", guard.wait(lambda: guard.metric("reloads_total") > before))
        new_key = add_account(folder, "newcomer")
        checks.check("reload: a new key counts", guard.wait(lambda: guard.ask("POST", "/v1/chat/completions", CHAT, new_key)[0] == 200))
        run_guard(["keys", "revoke", "guard.yaml", new_key.split("_")[1], "--by", "tests"], folder)
        checks.check("reload: a revoked one doesn't", guard.wait(lambda: guard.ask("POST", "/v1/chat/completions", CHAT, new_key)[0] == 401))
        callers.end()
        checks.check("reload: no request was dropped", set(callers.seen) == {200} and callers.lost == 0 and callers.seen[200] > 100,
                     (callers.seen, callers.lost, callers.failed[:2]))
        checks.check("reload: SIGTERM ends it", guard.stop() == 0)


def check_unwritable(checks, folder, upstream, key):
    """A disk that takes nothing more of a file: what waited for its record is refused, or goes on without one."""
    for required, expected in (("true", 503), ("false", 200)):
        write(folder, upstream.url, evidence=f"unwritable-{required}", required=required)
        # Python ignores SIGXFSZ, and so does the guard that it starts: it sees the error.
        with Guard(folder, restore_signals=False) as guard:
            callers = Callers(guard, key, 8)
            time.sleep(1)
            callers.end()
            segment = next((folder / f"unwritable-{required}").glob("*.evidence"))
            before = len(upstream.requests)
            whole = resource.prlimit(guard.process.pid, resource.RLIMIT_FSIZE, (segment.stat().st_size, resource.RLIM_INFINITY))
            callers = Callers(guard, key, 8)
            time.sleep(0.5)
            callers.end()
            checks.check(f"unwritable: required {required}", set(callers.seen) == {expected} and callers.lost == 0, (callers.seen, callers.failed[:2]))
            checks.check("unwritable: nothing is sent on without its record",
                         (len(upstream.requests) == before) == (required == "true"), len(upstream.requests) - before)
            resource.prlimit(guard.process.pid, resource.RLIMIT_FSIZE, whole)
            checks.check("unwritable: it serves again", guard.wait(lambda: guard.ask("POST", "/v1/chat/completions", CHAT, key)[0] == 200))
            money = json.loads(guard.admin("GET", "/admin/spending/acme")[1])
            checks.check("unwritable: and holds no money", money["reserved_usd"] == 0 and guard.metric("under_way") == 0, money)
            checks.check("unwritable: SIGTERM ends it", guard.stop() == 0, (folder / "guard.log").read_text())
        checks.check("unwritable: the chain verifies", run_guard(["verify", f"unwritable-{required}"], folder)[0] == 0)


def check_full(checks, folder, upstream, key):
    for required, expected in (("true", 503), ("false", 200)):
        write(folder, upstream.url, evidence=f"full-{required}", required=required, quota=1)
        with Guard(folder) as guard:
            large = {**CHAT, "user": "x" * 200, "messages": [{"role": "user", "content": "word " * 50}]}
            seen = set()
            deadline = time.monotonic() + 60
            agent = {"User-Agent": "y" * 20_000}
            while guard.ask("POST", "/v1/chat/completions", large, key, agent)[0] == 200 and time.monotonic() < deadline:
                if guard.metric("evidence_failures_total") > 0:
                    break
            for _ in range(3):
                status, headers, data = guard.ask("POST", "/v1/chat/completions", large, key, agent)
                seen.add(status)
            checks.check(f"full: required {required}", seen == {expected} and json.loads(data), (seen, data))
            checks.check("full: it is ready where evidence isn't required, and counted",
                         guard.ask("GET", "/readyz")[0] == (503 if required == "true" else 200) and guard.ask("GET", "/healthz")[0] == 200
                         and guard.metric("evidence_failures_total") > 0)
            spent = json.loads(guard.admin("GET", "/admin/spending/acme")[1])
            checks.check("full: nothing stays reserved", spent["reserved_usd"] == 0, spent)
        checks.check("full: the chain verifies", run_guard(["verify", f"full-{required}"], folder)[0] == 0)
    write(folder, upstream.url)


def check_upstream(checks, folder, upstream, key):
    path = "/v1/chat/completions"
    events = list(STREAMS[path](CHAT))
    whole = b"".join(upstream.frame(kind, document) for kind, document in events)

    def raw(data, close=True):
        def answer(handler, _):
            handler.wfile.write(data)
            handler.close_connection = close
        return answer

    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    with Guard(folder) as guard:
        bomb = gzip.compress(b"\0" * (64 << 20))
        upstream.behaviour[path] = raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
                                       % len(bomb) + bomb)
        status, _, data = guard.ask("POST", path, CHAT, key)
        checks.check("upstream: a compressed answer is not taken", status == 502 and b"compressed" in data, (status, data[:200]))
        upstream.behaviour[path] = raw(head + b"\r\ndata: " + b"x" * (20 << 20))
        status, _, data = guard.ask("POST", path, {**CHAT, "stream": True}, key)
        checks.check("upstream: an event without end is given up", b"error" in data and len(data) < 10_000, (status, len(data)))

        def split(handler, _):
            handler.wfile.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
            generator = random.Random(len(upstream.requests))
            position = 0
            while position < len(whole):
                size = generator.randint(1, 40)
                piece = whole[position:position + size]
                position += len(piece)
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                handler.wfile.flush()
            handler.wfile.write(b"0\r\n\r\n")
        upstream.behaviour[path] = split
        checks.check("upstream: a stream in any pieces is the same",
                     all(guard.ask("POST", path, {**CHAT, "stream": True}, key)[2] == whole for _ in range(30)))
        generator = random.Random(SEED)
        for _ in range(30):
            cut = generator.randrange(1, len(whole) - 5)
            upstream.behaviour[path] = raw(head + b"Content-Length: %d\r\n\r\n" % len(whole) + whole[:cut])
            _, _, data = guard.ask("POST", path, {**CHAT, "stream": True}, key)
            checks.check("upstream: cut anywhere, it never looks whole", b"[DONE]" not in data and b'"error"' in data, (cut, data))
        del upstream.behaviour[path]

        # A caller that reads nothing makes upstream wait, and costs little memory.
        piece = next(iter(STREAMS[path](CHAT)))[1]
        piece["choices"][0]["delta"]["content"] = "z" * 10_000
        sent = []

        def flood(handler, _):
            def count():
                for number in range(20_000):
                    sent.append(number)
                    yield None, piece
            upstream.stream(handler, count())
        upstream.behaviour[path] = flood
        upstream.aborted.clear()
        with socket.create_connection(("127.0.0.1", guard.port)) as slow:
            data = json.dumps({**CHAT, "stream": True}).encode()
            slow.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (path.encode(), key.encode(), len(data)) + data)
            slow.recv(1000)
            time.sleep(1.5)
            first = len(sent)
            time.sleep(0.5)
            status = pathlib.Path(f"/proc/{guard.process.pid}/status").read_text()
            size_kb, rss_kb = (int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE).group(1)) for name in ("VmSize", "VmRSS"))
            checks.check("upstream: it waits for a slow caller", len(sent) == first and first < 5_000, (first, len(sent)))
            if size_kb < 1 << 30:  # else a sanitizer's, whose memory says nothing
                checks.check("upstream: in little memory", rss_kb < 120_000, rss_kb)
        checks.check("upstream: and is let go with the caller", upstream.aborted.wait(10))
        del upstream.behaviour[path]
        checks.check("upstream: nothing is left under way", guard.wait(lambda: guard.metric("under_way ") == 0))
        spent = json.loads(guard.admin("GET", "/admin/spending/acme")[1])
        checks.check("upstream: nothing stays reserved", spent["reserved_usd"] == 0, spent)


def check_draining(checks, folder, upstream, key):
    path = "/v1/chat/completions"
    upstream.behaviour[path] = lambda handler, _: upstream.stream(handler, STREAMS[path](CHAT), pause_s=0.2)
    with Guard(folder) as guard:
        seen = []
        asking = threading.Thread(target=lambda: seen.append(guard.ask("POST", path, {**CHAT, "stream": True}, key)))
        asking.start()
        time.sleep(0.4)
        code = guard.stop()
        asking.join()
        checks.check("draining: what was under way ends whole", code == 0 and seen and seen[0][2].endswith(b"data: [DONE]\n\n")
                     and CHAT_TEXT[:4].encode() in seen[0][2], seen)
    del upstream.behaviour[path]


def main():
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        write(folder, upstream.url)
        key = add_account(folder, "acme")
        check_killed(checks, folder, upstream, key)
        check_reloads(checks, folder, upstream, key)
        check_unwritable(checks, folder, upstream, key)
        check_full(checks, folder, upstream, key)
        check_upstream(checks, folder, upstream, key)
        check_draining(checks, folder, upstream, key)
    checks.end()


if __name__ == "__main__":
    main()
