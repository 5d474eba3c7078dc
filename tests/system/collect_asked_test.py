"""A chat teacher writes the prompts too, and one that is still loading is waited for: against `retort serve` with a tiny model
(started after the collection, killed collections resumed), and against a scripted one."""

import json
import os
import pathlib
import random
import signal
import socket
import sqlite3
import subprocess
import time

from collecting import Books, collect, recipe
from program import PROGRAM, Scenarios, make_models, run, scratch
from scripted_api import ScriptedApi, answer_body, error_body, response
from server import Server

SEED = int(os.environ.get("RETORT_TEST_SEED", "5"))
ASKS = "Write one message that a person sends to an AI assistant."


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def served(folder, url, count, collect_more="", more=""):
    (folder / "recipe.yaml").write_text(
        f"name: run\nteacher: {{api: openai, endpoints: [{{url: '{url}'}}], model: tiny}}\n"
        f"collect: {{prompts: self_generated, count: {count}, max_tokens: 8, max_user_tokens: 200, attempts: 16, temperature: 1"
        f"{collect_more}}}\nterms: {{accepted_by: Jane Doe, accepted_licence: apache-2.0}}\n{more}")


def environment(folder):
    return {**os.environ, "RETORT_CACHE": str(folder / "cache")}


class Started:
    """`retort collect` at work."""

    def __init__(self, folder, *more):
        self.errors_file = folder / "errors.txt"
        with self.errors_file.open("wb") as errors:
            self.process = subprocess.Popen([PROGRAM, "collect", "recipe.yaml", "--json", *more], cwd=folder,
                                            env=environment(folder), stdout=subprocess.PIPE, stderr=errors)

    def errors(self):
        return self.errors_file.read_text()

    def until(self, words, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        while words not in self.errors() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return words in self.errors()

    def end(self, timeout_s=120):
        out, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, json.loads(out) if out.strip() else None


def base(folder):
    return sqlite3.connect(f"file:{folder}/runs/run/collect/exchanges.sqlite?mode=ro", uri=True)


def answered_twice(folder):
    """Requests that were answered and sent again: none, whatever was killed."""
    with base(folder) as opened:
        return opened.execute(
            "SELECT count(*) FROM (SELECT request FROM attempts JOIN settlements ON settlements.attempt = number "
            "WHERE outcome = 'answered' AND slot >= 0 GROUP BY request HAVING count(*) > 1)").fetchone()[0]


def by_id(folder):
    with base(folder) as opened:
        return {bytes(key).hex(): json.loads(value) for key, value in opened.execute("SELECT id, bytes FROM exchanges")}


def check_exchanges(s, folder, count, title):
    kept = json.loads((folder / "runs/run/collect/collection.json").read_text())["ids"]
    exchanges = by_id(folder)
    s.check(f"{title}: as many as were asked for", len(kept) == count, len(kept))
    instructions = set()
    for number in kept:
        exchange = exchanges[number]
        turn = exchanges[exchange["provenance"]["derived_from"][0]]
        instructions.add(turn["prompt"][-1]["content"])
        good = (turn["prompt"][-1]["content"].startswith(ASKS) and exchange["prompt"][-1]["content"] in turn["completion"]["text"]
                and not exchange["prompt"][-1]["content"].startswith(ASKS) and exchange["provenance"]["prompt_source"] == "self_generated")
        s.check(f"{title}: the prompt is the message, and names its instruction", good, (turn, exchange))
        if not good:
            return
    s.check(f"{title}: each from an instruction of its own", len(instructions) == count, len(instructions))


def before_the_server(s):
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        port = free_port()
        served(folder, f"http://127.0.0.1:{port}/v1", 6)
        started = Started(folder)
        s.check("it waits for a server that isn't there yet",
                started.until("is not ready yet (no connection); waiting, up to 15 minutes"), started.errors())
        with Server(folder, "models/long_context.gguf", "--name", "tiny", port=port):
            code, told = started.end()
            s.check("and goes on when it is", code == 0 and told["complete"] and told["committed"] == 6, (code, told, started.errors()))
            s.check("which is said", "answers after" in started.errors(), started.errors())
            check_exchanges(s, folder, 6, "waited for")
            code, again, errors = collect(folder)
            s.check("nothing is asked again", code == 0 and again["attempts"] == told["attempts"], (again, errors))
            s.check("what was dropped is counted", again["dropped_turns"] == told["dropped_turns"], again)


def without_the_server(s):
    with scratch() as name:
        folder = pathlib.Path(name)
        served(folder, f"http://127.0.0.1:{free_port()}/v1", 6)
        code, told, errors = collect(folder, "--set", "collect.ready_s=1")
        s.check("its time is limited", code == 1 and told["stopped"] == "world" and "collect.ready_s" in errors
                and "no connection" in errors, (code, told, errors))
        for number in (signal.SIGINT, signal.SIGTERM):
            started = Started(folder)
            s.check("waiting", started.until("is not ready yet"), started.errors())
            os.kill(started.process.pid, number)
            began = time.monotonic()
            code, told = started.end()
            s.check("a signal ends the wait", code == 130 and told["stopped"] == "signal" and time.monotonic() - began < 5,
                    (code, told, started.errors()))
        served(folder, "http://no-such-host.internal/v1", 6)
        began = time.monotonic()
        code, _, errors = collect(folder)
        s.check("a host that nobody knows isn't waited for", code == 1 and "not ready" not in errors and time.monotonic() - began < 30,
                (code, errors))


def loading(s):
    began = time.monotonic()

    def script(question, times, rng):
        if time.monotonic() - began < 2:
            return [response(503, error_body("Loading model"), ["Retry-After: 1"])]
        return [response(200, answer_body(question))]

    with scratch() as name, ScriptedApi(script) as api:
        folder = pathlib.Path(name)
        api.probe = script
        recipe(folder, api, 20)
        code, told, errors = collect(folder)
        s.check("503 is waited for", code == 0 and told["complete"] and "is not ready yet (503)" in errors, (code, told, errors))
    for status in (401, 403, 404):
        with scratch() as name, ScriptedApi() as api:
            folder = pathlib.Path(name)
            api.probe = lambda question, times, rng, status=status: [response(status, error_body("no"))]
            recipe(folder, api, 20)
            code, _, errors = collect(folder, timeout_s=20)
            s.check(f"{status} isn't", code in (1, 2) and "not ready" not in errors, (code, errors))


def through_kills(s):
    """SIGKILL at random moments of both stages; what was answered is never asked again."""
    rng = random.Random(SEED)
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        with Server(folder, "models/long_context.gguf", "--name", "tiny") as server:
            served(folder, server.url + "/v1", 60, ", concurrency: 4")
            kills, kept = 0, 0
            while kills < 8:
                started = Started(folder)
                time.sleep(rng.uniform(0.2, 0.7))
                if started.process.poll() is not None:
                    break
                started.process.kill()
                started.end()
                kills += 1
                try:
                    now = len(Books(folder).exchanges)
                except sqlite3.OperationalError:  # killed while the tables were made
                    continue
                s.check("nothing kept is lost", now >= kept, (now, kept))
                kept = now
            code, told, errors = collect(folder)
            s.check("killed and resumed, it is completed", code == 0 and told["complete"] and told["committed"] == 60, (code, told, errors))
            s.check("nothing answered was asked again", answered_twice(folder) == 0)
            check_exchanges(s, folder, 60 - told["given_up"], "killed")
            print(f"{told['attempts']} requests for {told['committed']} exchanges over {kills} kills, dropped {told['dropped_turns']}")


def in_batches(s):
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        api.batches.enabled = True
        served(folder, api.url, 10, ", mode: batch, batch_poll_s: 0.2")
        code, told, errors = collect(folder)
        s.check("both turns go through batches too", code == 0 and told["complete"] and told["committed"] == 10
                and len(api.batches.made) == 2, (code, told, errors))
        check_exchanges(s, folder, 10, "in batches")


def planned_and_curated(s):
    """A teacher that says nearly the same thing again and again: curation sees it, and a plan counts both requests."""
    def script(question, times, rng):
        if question.startswith(ASKS):
            return [response(200, answer_body(question, text=rng.choice(["What is a retort?", "what is  a retort", "Who are you?",
                                                                         "I cannot help with that."])))]
        return [response(200, answer_body(question, text="A vessel in which things are heated, and what comes off is caught."))]

    with scratch() as name, ScriptedApi(script, SEED) as api:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        served(folder, api.url, 24, ", prices: {input_per_mtok: 1, output_per_mtok: 2}",
               "student: {from: models/tiny.gguf}\ntrain: {objective: ce}\nevaluate: {held_out: 1}\ncurate: {min_tokens: 1}\n")
        code, out, errors = run(["plan", "recipe.yaml", "--json"], folder)
        service = json.loads(out)["service"] if code == 0 else {}
        s.check("a plan counts both requests", code == 0 and service["requests"] == 48
                and service["output_tokens"]["high"] == 24 * (200 + 8) and service["usd"]["high"] > 0, out + errors)
        s.check("and asks nothing", api.requests == 0, api.requests)
        code, out, errors = run(["run", "recipe.yaml", "--until", "curate"], folder)
        s.check("a run collects so too", code == 0, out + errors)
        summary = json.loads((folder / "runs/run/collect/summary.json").read_text())
        s.check("refusals are counted", summary["refused_user_turns"] > 0 and summary["exchanges"] == 24, summary)
        curation = json.loads((folder / "runs/run/curate/curation.json").read_text())
        reasons = {}
        for drop in curation["dropped"]:
            reasons[drop["reason"]] = reasons.get(drop["reason"], 0) + 1
        s.check("near-duplicates are seen by curation", len(curation["kept"]) == 2 and reasons.get("normalised_duplicate", 0) > 0
                and reasons.get("exact_duplicate", 0) > 0, (reasons, curation["kept"]))


scenarios = Scenarios()
before_the_server(scenarios)
without_the_server(scenarios)
loading(scenarios)
through_kills(scenarios)
in_batches(scenarios)
planned_and_curated(scenarios)
scenarios.end()
