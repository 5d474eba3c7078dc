"""`retort collect` against an API that a script plays: what is paid for is kept, once, whatever happens on the way."""

import json
import os
import pathlib
import random
import re
import resource
import signal
import sqlite3
import subprocess
import time

from collecting import KEY, Books, collect, recipe
from program import PROGRAM, Scenarios, scratch
from scripted_api import ScriptedApi, answer_body, error_body, fault, response

SEED = int(os.environ.get("RETORT_TEST_SEED", "7"))
# An overnight's worth: RETORT_TEST_ANSWERS=100000 RETORT_TEST_KILLS=60
ANSWERS = int(os.environ.get("RETORT_TEST_ANSWERS", "1500"))
KILLS = int(os.environ.get("RETORT_TEST_KILLS", "12"))


def plainly(s):
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        recipe(folder, api)
        code, told, errors = collect(folder)
        s.check("all is collected", code == 0 and told["complete"] and told["committed"] == told["planned"] == 100,
                (code, told, errors))
        s.check("the contract's members", told is not None and {
            "planned", "committed", "attempts", "failed", "input_tokens", "output_tokens", "spent_usd", "reserved_usd",
            "complete", "stopped"} <= told.keys() and told["stopped"] is None, told)
        s.check("each was asked once", api.requests == 100, api.requests)
        s.check("who asks", all(re.fullmatch(r"retort/\d+\.\d+\.\d+", h["user-agent"]) for h in api.headers))
        s.check("the key goes where it belongs", all(h["authorization"] == f"Bearer {KEY}" for h in api.headers))
        code, told, _ = collect(folder)
        s.check("nothing is asked again", code == 0 and api.requests == 100 and told["committed"] == 100, told)
        books = Books(folder)
        s.check("what is kept is what was answered", not books.wrong() and len(books.exchanges) == 100)
        found = [str(path) for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
        s.check("the key is in no file", not found and KEY not in errors, found)


def through_faults(s):
    """A third of all requests meets a fault."""
    def script(question, times, rng):
        if rng.random() < 0.33:
            return fault(question, rng)
        return [response(200, answer_body(question))]

    with scratch() as name, ScriptedApi(script, SEED) as api:
        folder = pathlib.Path(name)
        recipe(folder, api, 200, "concurrency: 16")
        code, told, errors = collect(folder, timeout_s=300)
        s.check("faults are survived", code == 0 and told["complete"], (code, told, errors))
        books = Books(folder)
        s.check("nothing broken is kept", not books.wrong(), books.wrong()[:3])
        # A kept connection may turn out to be dead: then an attempt reaches nobody.
        s.check("every request is in the books", api.requests <= books.attempts, (books.attempts, api.requests))
        failed = books.attempts - books.outcomes.get("answered", 0)
        s.check("requests - kept <= retries", api.requests - len(books.slots) <= failed, (api.requests, failed, books.outcomes))
        s.check("there were faults", failed > 40, books.outcomes)


def through_kills(s):
    """SIGKILL at random moments, under a cap; afterwards the books are exact."""
    def script(question, times, rng):
        if rng.random() < 0.1:
            return fault(question, rng)
        return [response(200, answer_body(question, rng.randrange(1, 65)))]

    rng = random.Random(SEED)
    concurrency, kills, cap_usd = 16, 0, ANSWERS / 300
    with scratch() as name, ScriptedApi(script, SEED, delay_s=0.05) as api:
        folder = pathlib.Path(name)
        recipe(folder, api, ANSWERS, f"concurrency: {concurrency}\n  prices: {{input_per_mtok: 1, output_per_mtok: 10}}\n"
                                  f"  budget: {{usd: {cap_usd}}}")
        environment = {**os.environ, "SCRIPTED_KEY": KEY, "RETORT_CACHE": str(folder / "cache")}
        kept = 0
        while kills < KILLS:
            with subprocess.Popen([PROGRAM, "collect", "recipe.yaml", "--json"], cwd=folder, env=environment,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(rng.uniform(0.3, 1.2))
                process.kill()
                process.wait()
            kills += 1
            if not (folder / "runs/run/collect/exchanges.sqlite").exists():
                continue
            try:
                books = Books(folder)
            except sqlite3.OperationalError:  # killed while the tables were made
                continue
            s.check("nothing kept is lost", len(books.slots) >= kept, (len(books.slots), kept))
            kept = len(books.slots)
            s.check("the cap holds", books.spent + books.reserved <= cap_usd * 1e9, (books.spent, books.reserved))
        code, told, errors = collect(folder, timeout_s=600)
        s.check("it is completed", code == 0 and told["complete"] and told["committed"] == ANSWERS, (code, told, errors))
        books = Books(folder)
        s.check("every answer is right", not books.wrong() and len(books.slots) == ANSWERS, books.wrong()[:3])
        retries = sum(count for outcome, count in books.outcomes.items() if outcome != "answered")
        s.check("requests - kept <= in flight x kills + retries",
                api.requests - len(books.slots) <= concurrency * kills + retries,
                (api.requests, len(books.slots), kills, retries))
        s.check("never more than allowed at a time", api.most_in_flight <= 2 * concurrency, api.most_in_flight)
        print(f"{api.requests} requests for {len(books.slots)} answers over {kills} kills, {retries} retries")


def caps_and_limits(s):
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        recipe(folder, api, 100, "budget: {requests: 30}")
        code, told, errors = collect(folder)
        s.check("a reached cap", code == 1 and told["stopped"] == "budget" and not told["complete"]
                and told["attempts"] == 30, (code, told, errors))
        s.check("requests stay below", api.requests <= 30, api.requests)
        code, told, _ = collect(folder, "--set", "collect.budget={requests: 200}", "--set", "collect.durability=full")
        s.check("a higher cap goes on", code == 0 and told["complete"], told)
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        recipe(folder, api, 30, "limits: {requests_per_minute: 300}")
        started = time.monotonic()
        code, told, _ = collect(folder)
        # Half of them may start at once, three seconds' worth.
        s.check("a limit is kept", code == 0 and time.monotonic() - started > 2, told)
        (folder / "prices.json").write_text(json.dumps({"other": {"input_per_mtok": 1, "output_per_mtok": 2}}))
        code, _, errors = collect(folder, "--set", "collect.price_file=prices.json")
        s.check("a price file without the model", code == 2 and "has no prices" in errors, errors)
        (folder / "prices.json").write_text(json.dumps({
            "HuggingFaceTB/SmolLM2-135M-Instruct": {"input_per_mtok": 1, "output_per_mtok": 2}}))
        code, told, errors = collect(folder, "--set", "name=priced", "--set", "collect.price_file=prices.json",
                                     "--set", "collect.budget={usd: 10}")
        s.check("prices of a file", code == 0 and abs(told["spent_usd"] - (30 * 10 + 30 * 20 * 2) / 1e6) < 1e-9, told)
        s.check("what it will take is said before", "tokens in" in errors and "$" in errors, errors)
        s.check("caps in money need prices", collect(folder, "--set", "collect.budget={usd: 1}")[0] == 2)


def denials(s):
    for status, words in ((401, "doesn't accept the key"), (403, "not asked by another way"), (404, "knows no such model"),
                          (307, "not followed"), (402, "no credit")):
        with scratch() as name, ScriptedApi(lambda *_, status=status: [
                response(status, error_body("no"), ["Location: /elsewhere"])]) as api, ScriptedApi() as other:
            folder = pathlib.Path(name)
            recipe(folder, api, 40)
            text = (folder / "recipe.yaml").read_text().replace(
                "key_env: SCRIPTED_KEY}]", f'key_env: SCRIPTED_KEY}}, {{url: "{other.url}", key_env: SCRIPTED_KEY}}]')
            (folder / "recipe.yaml").write_text(text)
            code, told, errors = collect(folder, "--set", "collect.concurrency=1")
            s.check(f"{status} ends it", code in (1, 2) and words in errors, (status, code, errors))
            s.check(f"{status} is asked once, and nobody else", api.requests == 1 and other.requests == 0,
                    (status, api.requests, other.requests))
            s.check(f"{status} shows no key", KEY not in errors)


def signals(s):
    with scratch() as name, ScriptedApi(delay_s=0.2) as api:
        folder = pathlib.Path(name)
        recipe(folder, api, 400, "concurrency: 8")
        with subprocess.Popen([PROGRAM, "collect", "recipe.yaml", "--json"], cwd=folder, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              env={**os.environ, "SCRIPTED_KEY": KEY, "RETORT_CACHE": str(folder / "cache")}) as process:
            while api.requests < 40:
                time.sleep(0.02)
            second, _, second_errors = collect(folder)
            s.check("a second process is refused", second == 2 and "process" in second_errors, second_errors)
            os.kill(process.pid, signal.SIGTERM)
            out, errors = process.communicate(timeout=60)
        told = json.loads(out)
        s.check("a signal ends it well", process.returncode == 130 and told["stopped"] == "signal", (told, errors))
        s.check("what was under way is kept", told["committed"] == api.requests and told["open_attempts"] == 0,
                (told, api.requests))


def a_full_disk(s):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        recipe(folder, api, 600)
        code, _, errors = collect(folder, preexec_fn=small_files)
        s.check("a full disk is told", code == 1 and errors.strip().endswith("."), (code, errors[-400:]))
        before = Books(folder)
        code, told, errors = collect(folder)
        s.check("and lost nothing", code == 0 and told["complete"] and told["committed"] == 600, (code, told, errors))
        s.check("kept answers were not asked again",
                all(len(times) == 1 for question, times in api.seen.items()
                    if question in {e["prompt"][-1]["content"] for e in before.exchanges}))


def tls(s):
    with scratch() as name:
        folder = pathlib.Path(name)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder,
                       check=True, capture_output=True)
        with ScriptedApi(certificate=(folder / "cert.pem", folder / "key.pem")) as api:
            recipe(folder, api, 10)
            code, _, errors = collect(folder)
            s.check("an unknown certificate is refused", code == 1 and "not trusted" in errors and not api.requests, errors)
            code, told, errors = collect(folder, environment={"SSL_CERT_FILE": str(folder / "cert.pem")})
            s.check("one's own authority is trusted", code == 0 and told["complete"], errors)


def bad_input(s):
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        recipe(folder, api, 10)
        done = subprocess.run([PROGRAM, "collect", "recipe.yaml"], cwd=folder, capture_output=True, check=False,
                              env={key: value for key, value in os.environ.items() if key != "SCRIPTED_KEY"})
        s.check("a missing key", done.returncode == 2 and b"SCRIPTED_KEY" in done.stderr, done.stderr)
        code, _, errors = collect(folder, "--set", "collect.logprobs=5")
        s.check("more than the teacher gives", code == 2 and "train.objective ce" in errors, errors)
        text = (folder / "recipe.yaml").read_text()
        (folder / "recipe.yaml").write_text(text.replace("model: HuggingFaceTB/SmolLM2-135M-Instruct", "model: unheard-of-7b"))
        code, _, errors = collect(folder)
        s.check("unknown terms", code == 2 and "authorisation" in errors, errors)
        s.check("nothing was asked", api.requests == 0)


def main():
    s = Scenarios()
    for scenario in (plainly, through_faults, through_kills, caps_and_limits, denials, signals, a_full_disk, tls, bad_input):
        started = time.monotonic()
        scenario(s)
        print(f"{scenario.__name__}: {time.monotonic() - started:.1f} s")
    s.end()


main()
