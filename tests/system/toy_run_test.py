"""recipes/toy.yaml on the real teacher, from end to end: outputs, resumption after kill -9, one process at a time.

Skipped without the teacher's file (`make setup` fetches it).
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from program import PROGRAM, SKIPPED, SOURCE, Scenarios, run, scratch

RECIPE = str(SOURCE / "recipes/toy.yaml")
METRICS = ("kl_nats", "top1_agreement", "perplexity", "size_bytes", "prefill_tokens_per_s", "decode_tokens_per_s")


def cache_folder():
    if os.environ.get("RETORT_CACHE"):
        return pathlib.Path(os.environ["RETORT_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ["HOME"], ".cache")
    return pathlib.Path(base) / "retort"


def start(folder):
    return subprocess.Popen([PROGRAM, "run", RECIPE], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(condition, process, timeout_s=300):
    """Until the condition holds or the process ends; whether it holds."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def check_killed_in_collect(scenarios, folder):
    """Killed while the teacher answers: what was stored is not asked again."""
    store = folder / "runs/toy/collect/exchanges.sqlite-wal"
    process = start(folder)
    reached = wait_for(lambda: store.exists() and store.stat().st_size > 30_000, process)
    if process.poll() is None:
        code, _, errors = run(["run", RECIPE], folder)
        scenarios.check("a second process is refused", code == 2 and str(process.pid) in errors, f"{code} {errors}")
    kill(process)
    scenarios.check("collection had begun when it was killed", reached)
    code, out, errors = run(["run", RECIPE, "--until", "collect"], folder)
    scenarios.check("collection goes on", code == 0, errors)
    summary = json.loads((folder / "runs/toy/collect/summary.json").read_text())
    scenarios.check("what was stored is not asked again", summary["reused"] > 0 and
                    summary["reused"] + summary["asked"] + summary["slots_given_up"] == 24, json.dumps(summary))


def check_killed_in_train(scenarios, folder):
    """Killed in training: it goes on from its checkpoint."""
    metrics = folder / "runs/toy/train/metrics.jsonl"
    checkpoint = folder / "runs/toy/train/checkpoint.safetensors"
    process = start(folder)
    reached = wait_for(lambda: metrics.exists() and checkpoint.exists() and metrics.read_text().count("\n") >= 1, process)
    kill(process)
    scenarios.check("training had begun when it was killed", reached)
    done = json.loads((folder / "runs/toy/manifest.json").read_text())
    scenarios.check("the kill came before training was complete",
                    not any(s["name"] == "train" and s["done"] for s in done["stages"]))


def check_outputs(scenarios, folder, result):
    card = json.loads((folder / "runs/toy/scorecard.json").read_text())
    for model in ("teacher", "before", "student"):
        for metric in METRICS:
            value = card[model].get(metric, "absent")
            fits = value is None or (isinstance(value, dict) and {"value", "low", "high"} <= set(value))
            scenarios.check(f"scorecard: {model}.{metric}", fits, json.dumps(card[model]))
        scenarios.check(f"scorecard: {model} has type and layers", card[model]["type"] and card[model]["layers"] > 0)
    scenarios.check("scorecard: the teacher is itself", card["teacher"]["kl_nats"]["value"] == 0 and
                    card["teacher"]["top1_agreement"]["value"] == 1)
    scenarios.check("scorecard: held out", set(card["held_out"]) >= {"exchanges", "tokens", "temperature", "top_p", "max_tokens"}
                    and card["held_out"]["exchanges"] == 6, json.dumps(card["held_out"]))
    scenarios.check("scorecard: wall time", card["wall_s"] > 0)
    scenarios.check("run --json ends in the scorecard", result.get("scorecard", {}).get("student") == card["student"])

    page = (folder / "runs/toy/report.html").read_text()
    scenarios.check("the report is a page", "<html" in page)
    loaded = re.findall(r'(?:src|href)\s*=\s*["\'](?:https?:)?//', page)
    scenarios.check("the report loads nothing", not loaded and "<script" not in page, str(loaded))

    steps = [json.loads(line) for line in (folder / "runs/toy/metrics.jsonl").read_text().splitlines()]
    scenarios.check("a line per step", [s["step"] for s in steps] == list(range(1, len(steps) + 1)) and len(steps) >= 2)

    code, out, errors = run(["verify", "runs/toy/bundle", "--json"], folder)
    scenarios.check("the bundle verifies", code == 0, out + errors)
    readme = (folder / "runs/toy/bundle/README.md").read_text()
    scenarios.check("the bundle has a model card", readme.startswith("---"))


def check_repetition(scenarios, folder):
    before = (folder / "runs/toy/manifest.json").read_text()
    code, out, errors = run(["run", RECIPE, "--json"], folder)
    stages = json.loads(out)["stages"]
    scenarios.check("an unchanged run repeats nothing", code == 0 and all(s["kept"] for s in stages), out + errors)
    scenarios.check("and says so", errors.count("unchanged, kept") == 8, errors)
    scenarios.check("the manifest is as it was", (folder / "runs/toy/manifest.json").read_text() == before)
    code, out, errors = run(["run", RECIPE, "--set", "evaluate.answers=1", "--json"], folder)
    repeated = [s["name"] for s in json.loads(out)["stages"] if not s["kept"]]
    scenarios.check("a changed stage and what follows it are repeated", repeated == ["evaluate", "bundle", "report"],
                    str(repeated) + errors)


def check_try_it(scenarios, folder, model):
    code, out, errors = run(["generate", "-m", model, "-p", "Hello", "-n", "8", "--seed", "1"], folder)
    scenarios.check("the student answers", code == 0 and out.strip(), out + errors)
    code, out, errors = run(["inspect", "runs/toy", "--json"], folder)
    scenarios.check("inspect knows a run", code == 0 and json.loads(out), out + errors)


def main():
    if not (cache_folder() / "models/SmolLM2-135M-Instruct.Q4_1.gguf").exists():
        print("skipped: the teacher's file is not in the cache (run `make setup`)")
        sys.exit(SKIPPED)
    scenarios = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        check_killed_in_collect(scenarios, folder)
        check_killed_in_train(scenarios, folder)
        code, out, errors = run(["run", RECIPE, "--json"], folder, timeout_s=600)
        scenarios.check("the run goes on to its end", code == 0, errors)
        if code == 0:
            result = json.loads(out)
            check_outputs(scenarios, folder, result)
            check_repetition(scenarios, folder)
            check_try_it(scenarios, folder, result["model"])
    scenarios.end()


main()
