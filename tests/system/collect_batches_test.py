"""`retort collect` through a provider's batch API that a script plays: kills, troubles and caps; nothing is asked twice."""

import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import time

from collecting import KEY, Books, collect, recipe
from program import PROGRAM, Scenarios, scratch
from scripted_api import ScriptedApi, error_body, response

SEED = int(os.environ.get("RETORT_TEST_SEED", "7"))
ANSWERS = int(os.environ.get("RETORT_TEST_ANSWERS", "600"))
KILLS = int(os.environ.get("RETORT_TEST_KILLS", "12"))
BATCHED = "mode: batch\n  batch_requests: {}\n  batch_poll_s: 0.1\n  temperature: 1\n  top_p: 1"


def desk(api, **changes):
    api.batches.enabled = True
    for name, value in changes.items():
        setattr(api.batches, name, value)


def plainly(s, dialect):
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        desk(api)
        recipe(folder, api, 100, BATCHED.format(40) + "\n  prices: {input_per_mtok: 1, output_per_mtok: 10, batch_discount: 0.5}",
               dialect=dialect)
        code, told, errors = collect(folder)
        s.check(f"{dialect}: all is collected", code == 0 and told["complete"] and told["committed"] == 100, (code, told, errors))
        s.check(f"{dialect}: in three batches", [len(batch["requests"]) for batch in api.batches.made] == [40, 40, 20])
        s.check(f"{dialect}: each was asked once", api.requests == 100, api.requests)
        books = Books(folder)
        s.check(f"{dialect}: what is kept is what was answered", not books.wrong() and len(books.exchanges) == 100)
        full = told["input_tokens"] + 10 * told["output_tokens"]
        s.check(f"{dialect}: at half the price", 0.5 * full <= told["spent_usd"] * 1e6 < 0.53 * full, told)
        code, told, _ = collect(folder)
        s.check(f"{dialect}: nothing is asked again", code == 0 and api.requests == 100 and len(api.batches.made) == 3, told)
        found = [str(path) for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
        s.check(f"{dialect}: the key is in no file", not found and KEY not in errors, found)


def through_troubles(s, dialect):
    """A third of all calls fails in one way or another, and a tenth of the requests comes to nothing."""
    def trouble(kind, rng):
        if rng.random() > 0.33:
            return None
        busy = response(rng.choice([408, 429, 500, 502, 503, 529]), error_body("busy"), ["Retry-After-Ms: 20"])
        late = response(rng.choice([408, 500, 502, 504]), error_body("late"))
        return rng.choice([["cut"], ["done", "cut"], [busy], ["done", late], [response(200, "{}")[:-10], "cut"],
                           ["done", 0.05, b"HTTP/1.1 200 OK\r\nContent-", "cut"]])

    def fate(question, times, rng):
        return "answered" if times or rng.random() > 0.1 else rng.choice(["expired", "error", "missing"])

    with scratch() as name, ScriptedApi(seed=SEED) as api:
        folder = pathlib.Path(name)
        desk(api, fate=fate)
        recipe(folder, api, 200, BATCHED.format(25), dialect=dialect)
        collect(folder, "--set", "collect.budget={requests: 2}")  # finds out what the service gives, in peace
        desk(api, trouble=trouble)
        code, told, errors = collect(folder, timeout_s=300)
        books = Books(folder)
        s.check(f"{dialect}: troubles are survived", code == 0 and told["complete"], (code, told, errors))
        s.check(f"{dialect}: every answer is right", not books.wrong() and len(books.slots) == 200, books.wrong()[:3])
        s.check(f"{dialect}: nothing was worked on twice but what had come to nothing",
                api.requests == 200 + api.batches.in_vain > 200, (api.requests, api.batches.in_vain, books.outcomes))
        s.check(f"{dialect}: nothing is left open", told["open_attempts"] == 0 and told["batches_under_way"] == 0, told)


def through_kills(s, dialect):
    """SIGKILL at random moments, many of them between what the service did and what was heard of it, under a cap."""
    rng = random.Random(SEED)
    cap_usd = ANSWERS / 1000

    with scratch() as name, ScriptedApi(seed=SEED) as api:
        folder = pathlib.Path(name)
        desk(api, ends_s=0.4)
        recipe(folder, api, ANSWERS, BATCHED.format(max(10, ANSWERS // 20)) +
               f"\n  prices: {{input_per_mtok: 1, output_per_mtok: 10}}\n  budget: {{usd: {cap_usd}}}", dialect=dialect)
        plain = api.batches.answer

        def late(path, body):
            """Done at once, told late: so that a kill falls in between."""
            steps = plain(path, body)
            return steps if steps is None or not body else [0.15, *steps]
        api.batches.answer = late
        environment = {**os.environ, "SCRIPTED_KEY": KEY, "RETORT_CACHE": str(folder / "cache")}
        kept = 0
        for _ in range(KILLS):
            with subprocess.Popen([PROGRAM, "collect", "recipe.yaml", "--json"], cwd=folder, env=environment,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(rng.uniform(0.2, 0.8))
                process.kill()
                process.wait()
            try:
                books = Books(folder)
            except sqlite3.OperationalError:  # killed before the tables were made
                continue
            s.check(f"{dialect}: nothing kept is lost", len(books.slots) >= kept, (len(books.slots), kept))
            kept = len(books.slots)
            s.check(f"{dialect}: the cap holds", books.spent + books.reserved <= cap_usd * 1e9, (books.spent, books.reserved))
        code, told, errors = collect(folder, timeout_s=600)
        books = Books(folder)
        s.check(f"{dialect}: it is completed", code == 0 and told["complete"] and told["committed"] == ANSWERS, (code, told, errors))
        s.check(f"{dialect}: every answer is right", not books.wrong() and len(books.slots) == ANSWERS, books.wrong()[:3])
        s.check(f"{dialect}: no request was worked on twice", api.requests == ANSWERS, api.requests)
        s.check(f"{dialect}: nothing is left open", told["open_attempts"] == 0, told)
        print(f"{dialect}: {len(api.batches.made)} batches for {len(books.slots)} answers over {KILLS} kills; {books.outcomes}")


def caps(s, dialect):
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        desk(api, ends_s=0.1)
        recipe(folder, api, 50, BATCHED.format(20) + "\n  budget: {requests: 30}", dialect=dialect)
        code, told, errors = collect(folder)
        s.check(f"{dialect}: a reached cap", code == 1 and told["stopped"] == "budget" and not told["complete"]
                and told["attempts"] == 30, (code, told, errors))
        s.check(f"{dialect}: requests stay below", api.requests < 30, api.requests)
        code, _, errors = collect(folder, "--set", "collect.mode=direct", "--set", "teacher.endpoints=[]")
        s.check(f"{dialect}: bad input is told", code == 2, errors)
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        recipe(folder, api, 50, BATCHED.format(20), dialect=dialect)
        code, _, errors = collect(folder)
        s.check(f"{dialect}: where there are no batches", code == 2 and "no batch API" in errors, errors)


def earlier_recipe(s, dialect):
    """The recipe changes while its batches are under way: what they come to is fetched first, and nothing is lost."""
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        desk(api, ends_s=4)
        recipe(folder, api, 40, BATCHED.format(20), dialect=dialect)
        environment = {**os.environ, "SCRIPTED_KEY": KEY, "RETORT_CACHE": str(folder / "cache")}
        with subprocess.Popen([PROGRAM, "collect", "recipe.yaml", "--json"], cwd=folder, env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 30
            while len(api.batches.made) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            process.wait()
        other = ["--set", "collect.max_tokens=32"]
        code, _, errors = collect(folder, *other)
        s.check(f"{dialect}: another recipe waits for what is under way", code == 1 and "earlier recipe" in errors
                and "--reconcile" in errors and len(api.batches.made) == 2, (code, errors))
        prompts = (folder / "prompts.jsonl").read_text()
        (folder / "prompts.jsonl").unlink()
        code, _, errors = collect(folder, *other)
        s.check(f"{dialect}: prompts that are gone are told", code == 2 and "prompts.jsonl" in errors, (code, errors))
        (folder / "prompts.jsonl").write_text(prompts)
        time.sleep(4)
        code, told, errors = collect(folder, *other)
        s.check(f"{dialect}: and then goes its own way", code == 0 and told["complete"] and told["committed"] == 40, (code, told, errors))
        books = Books(folder)
        s.check(f"{dialect}: both recipes' answers are kept", len(books.exchanges) == 80 and not books.wrong()
                and api.requests == 80 and told["open_attempts"] == 0, (len(books.exchanges), api.requests, told))
        code, told, errors = collect(folder)
        s.check(f"{dialect}: the earlier recipe asks nothing again", code == 0 and told["complete"] and api.requests == 80, told)


def main():
    s = Scenarios()
    for dialect in ("openai", "anthropic"):
        for scenario in (plainly, through_troubles, through_kills, caps, earlier_recipe):
            started = time.monotonic()
            scenario(s, dialect)
            print(f"{scenario.__name__}, {dialect}: {time.monotonic() - started:.1f} s")
    s.end()


main()
