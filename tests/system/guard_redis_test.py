"""Two guards that share their limits by a real Redis: rates, money, Redis killed and back, a guard killed and back."""

import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from guard import Guard, add_account, run_guard
from planes import free_port
from program import SKIPPED, Scenarios, scratch
from scripted_upstream import ScriptedUpstream

GUARD_YAML = """
listen: 127.0.0.1:0
workers: 2
admin: {{listen: "127.0.0.1:0", token_env: GUARD_ADMIN}}
state: {{redis: "redis://127.0.0.1:{redis}/0"}}
upstreams: [{{name: main, url: "{url}"}}]
callers: {{path: ../callers}}
evidence: {{path: evidence, prompts: none}}
prices: {{small: {{input_per_mtok: 1000, output_per_mtok: 2000, max_output_tokens: 1000}}}}
tiers:
  paced: {{limits: {{requests_per_minute: 60}}}}
  paid: {{limits: {{usd_per_day: 0.5}}}}
"""
CHAT = {"model": "small", "messages": [{"role": "user", "content": "What is two and two?"}], "max_tokens": 10}
COST = 0.025  # 11 x 0.001 + 7 x 0.002


class Redis:
    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("redis-server doesn't listen")

    def kill(self):
        self.process.kill()
        self.process.wait()


def ask(guard, key):
    status, _, data = guard.ask("POST", "/v1/chat/completions", CHAT, key)
    return status, (json.loads(data).get("error") or {}).get("code")


def at_once(guards, key, callers, each):
    """How often each answer came, of callers that ask both guards in turn."""
    seen = {}
    lock = threading.Lock()

    def caller(number):
        for turn in range(each):
            answer = ask(guards[(number + turn) % len(guards)], key)
            with lock:
                seen[answer] = seen.get(answer, 0) + 1

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def spent(guards, account):
    return [json.loads(guard.admin("GET", f"/admin/spending/{account}")[1]) for guard in guards]


def check_shared(checks, guards, keys):
    begun = time.monotonic()
    passed = 0
    for _ in range(100):
        for guard in guards:
            passed += ask(guard, keys["paced"])[0] == 200
        time.sleep(0.01)
    refilled = time.monotonic() - begun
    checks.check("a rate holds over both, but for what passes between two exchanges", 55 <= passed <= 60 + refilled + 25, (passed, refilled))
    seen = at_once(guards, keys["first"], 30, 2)
    money = spent(guards, "first")
    total = sum(one["settled_usd"] for one in money)
    checks.check("a budget holds over both", seen.get((429, "insufficient_quota"), 0) > 0 and abs(total - COST * seen[(200, None)]) < 1e-9
                 and total <= 0.5 and all(one["reserved_usd"] == 0 for one in money), (seen, money))
    checks.check("the metrics say how it stands", guards[0].metric("redis_connected") == 1 and guards[0].metric("redis_leases") >= 1
                 and guards[0].metric("redis_granted_usd") > 0)
    checks.check("and both may spend of it", all(one["settled_usd"] > 0 for one in money), money)


def check_killed(checks, redis, guards, keys):
    seen = [ask(guard, keys["second"])[0] for guard in guards]
    checks.check("before: served", seen == [200, 200], seen)
    redis.kill()
    begun = time.monotonic()
    money = at_once(guards, keys["third"], 4, 2)
    checks.check("without Redis nothing is spent that was not granted", set(money) == {(503, "budget_unavailable")}, money)
    checks.check("which the metrics say", guards[0].metric("redis_connected") == 0)
    checks.check("and nobody waits for it", time.monotonic() - begun < 3)
    checks.check("rates go on by each guard alone", ask(guards[0], keys["paced2"])[0] == 200 and ask(guards[1], keys["paced2"])[0] == 200)
    checks.check("and callers may be sent here", guards[0].ask("GET", "/readyz")[0] == 200)
    redis.start()
    checks.check("when it is back, money is spent again", guards[0].wait(lambda: ask(guards[0], keys["third"])[0] == 200)
                 and guards[1].wait(lambda: ask(guards[1], keys["third"])[0] == 200))
    time.sleep(1.5)  # it had forgotten everything; by now the guards have told it again
    seen = at_once(guards, keys["second"], 20, 2)
    total = sum(one["settled_usd"] for one in spent(guards, "second"))
    checks.check("and what was spent before it forgot still counts", seen.get((429, "insufficient_quota"), 0) > 0 and total <= 0.5, (seen, total))


def check_hung(checks, redis, guards, keys):
    """A Redis that takes connections and says nothing: one request an outage waits for it, and a little."""
    redis.process.send_signal(signal.SIGSTOP)
    times = []
    for _ in range(10):
        begun = time.monotonic()
        for guard in guards:
            ask(guard, keys["fifth"])
            checks.check("rates hold without it", ask(guard, keys["paced2"])[0] == 200)
        times.append(time.monotonic() - begun)
    redis.process.send_signal(signal.SIGCONT)
    checks.check("a Redis that hangs makes nobody wait for long", max(times) < 1 and sorted(times)[7] < 0.2, times)
    checks.check("and is found again", all(guard.wait(lambda g=guard: ask(g, keys["fifth"])[0] in (200, 429)) for guard in guards))


def check_guard_killed(checks, folders, guards, keys):
    """A guard that dies and comes back goes on under its name: what it spent counts once."""
    for _ in range(3):
        ask(guards[1], keys["fourth"])
    before = spent(guards, "fourth")
    guards[1].kill()
    with Guard(folders[1]) as again:
        both = [guards[0], again]
        seen = at_once(both, keys["fourth"], 20, 2)
        total = sum(one["settled_usd"] for one in spent(both, "fourth"))
        checks.check("a killed guard comes back and the budget adds up", total <= 0.5
                     and abs(total - before[1]["settled_usd"] - before[0]["settled_usd"] - COST * seen[(200, None)]) < 1e-9
                     and total > 0.5 - 3 * 0.13, (before, seen, total))
        checks.check("SIGTERM ends it", again.stop() == 0)


def main():
    if shutil.which("redis-server") is None:
        print("skipped: there is no redis-server (Debian's package redis-server)")
        sys.exit(SKIPPED)
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        upstream.delay_s = 0.005
        root = pathlib.Path(name)
        folders = [root / "a", root / "b"]
        redis = Redis(root)
        try:
            for folder in folders:
                folder.mkdir()
                (folder / "guard.yaml").write_text(GUARD_YAML.format(url=upstream.url, redis=redis.port))
            keys = {account: add_account(folders[0], account, tier="paced" if account.startswith("paced") else "paid")
                    for account in ("paced", "paced2", "first", "second", "third", "fourth", "fifth")}
            code, _, errors = run_guard(["check", "guard.yaml"], folders[0], {"GUARD_ADMIN": "y"})
            checks.check("check is content", code == 0, errors)
            with Guard(folders[0]) as first, Guard(folders[1]) as second:
                guards = [first, second]
                check_shared(checks, guards, keys)
                check_killed(checks, redis, guards, keys)
                check_hung(checks, redis, guards, keys)
                check_guard_killed(checks, folders, guards, keys)
                checks.check("SIGTERM ends the other", first.stop() == 0)
                log = (folders[0] / "guard.log").read_text()
                checks.check("going and coming are said, once each", log.count("until Redis is back") == log.count("is there again") == 2, log)
        finally:
            redis.kill()
    checks.end()


if __name__ == "__main__":
    main()
