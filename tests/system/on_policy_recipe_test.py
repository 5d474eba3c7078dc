"""recipes/on_policy.yaml at toy size on a tiny teacher: the student's own answers are kept as exchanges and learnt from."""

import json
import sqlite3

from program import check_recipe, run, toy_arguments

SMALL = {"student__layers": "2", "train__rollout_tokens": "8", "train__rollout_every": "2", "train__on_policy_from": "0.3"}


def arguments(verb, *more, **changes):
    return toy_arguments(verb, "on_policy", *more, **{**SMALL, **changes})


def check_plan(scenarios, folder):
    """What a plan says before anything was collected."""
    code, out, errors = run(arguments("plan", "--json"), folder)
    scenarios.check("a plan is made", code == 0, errors)
    checks = json.loads(out)["checks"] if code == 0 else []
    scenarios.check("and the training proved", len(checks) == 7 and all(check["passed"] for check in checks), out + errors)
    code, out, errors = run(arguments("plan"), folder)
    scenarios.check("the supervised tokens can be read", code == 0 and "\u27e6" in out and "yes  Are loss and gradient" in out,
                    out + errors)


def check_run(scenarios, folder):
    code, _, errors = run(arguments("run", "--until", "train"), folder)
    scenarios.check("the recipe trains", code == 0, errors)
    if code != 0:
        return
    train = folder / "runs/on-policy/train"
    lines = [json.loads(line) for line in (train / "metrics.jsonl").read_text().splitlines()]
    own = ["rollout_loss" in line for line in lines]
    scenarios.check("the last part learns from rollouts", not own[0] and own[-1] and own == sorted(own), str(own))
    scenarios.check("it says so", "Round 1 of the student's own answers" in errors, errors)
    checks = json.loads((train / "preflight.json").read_text())
    scenarios.check("it was proved first", len(checks) == 8 and all(check["passed"] for check in checks), json.dumps(checks))
    scenarios.check("what is checked is said", "checked: " in errors and "llama.cpp" in errors and "⟦" in errors, errors)

    store = sqlite3.connect(train / "rollouts.sqlite")
    exchanges = [json.loads(row[0]) for row in store.execute("select bytes from exchanges")]
    store.close()
    scenarios.check("rollouts are exchanges", exchanges and all(e["provenance"]["generated_by"] == "student" for e in exchanges),
                    str(exchanges[:1]))
    scenarios.check("with what they came from", all(len(e["provenance"]["derived_from"]) == 1 for e in exchanges) and
                    all("after step" in e["provenance"]["model"]["name"] for e in exchanges), str(exchanges[:1]))


def check_again(scenarios, folder):
    code, _, errors = run(arguments("run", "--until", "train"), folder)
    scenarios.check("an unchanged run repeats nothing", code == 0 and "train: unchanged, kept" in errors, errors)
    code, _, errors = run(arguments("run", "--until", "train", train__on_policy_objective="no_such"), folder)
    scenarios.check("a misspelt objective", code == 2 and "on_policy_objective" in errors, errors)


check_recipe(check_plan, check_run, check_again)
