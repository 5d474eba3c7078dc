"""recipes/cached.yaml at toy size on a tiny teacher: cache, train from it, refuse what doesn't fit."""

import json

from program import check_recipe, run, toy_arguments

RECIPE = "cached"


def arguments(verb, *more, **changes):
    return toy_arguments(verb, RECIPE, *more, **changes)


def check_cache(scenarios, folder):
    code, out, errors = run(arguments("cache", "--json"), folder)
    scenarios.check("the signal is written", code == 0, errors)
    if code != 0:
        return
    said = json.loads(out)
    scenarios.check("it says what it wrote", said["kind"] == "sampled" and said["slots"] == 8 and said["tokens"] > 0
                    and said["bytes_per_token"] <= 48 and not said["kept"], out)
    path = folder / "runs/cached/signal/teacher.signal"
    scenarios.check("it lies in the run", path.stat().st_size == said["bytes"], out)
    before = path.read_bytes()
    code, out, errors = run(arguments("cache", "--json"), folder)
    scenarios.check("a signal that fits is kept", code == 0 and json.loads(out)["kept"] and path.read_bytes() == before, out + errors)


def check_train(scenarios, folder):
    code, _, errors = run(arguments("run", "--until", "train"), folder)
    scenarios.check("a student is trained from it", code == 0, errors)
    lines = [json.loads(line) for line in (folder / "runs/cached/train/metrics.jsonl").read_text().splitlines()]
    scenarios.check("each line says what its loss knows", all("8 drawn tokens" in line["objective"] for line in lines), str(lines))
    scenarios.check("the held-out KL is measured", lines[-1]["held_out_kl"] is not None, str(lines[-1]))
    code, _, errors = run(arguments("run", "--until", "train", train__signal="auto"), folder)
    scenarios.check("auto finds it", code == 0 and "train.signal: sampled, because a kept signal fits" in errors, errors)
    code, _, errors = run(arguments("run", "--until", "train", train__signal="text", train__objective="ce"), folder)
    scenarios.check("text alone is learnt", code == 0, errors)
    code, _, errors = run(arguments("run", "--until", "train", train__signal="auto", train__objective="jsd"), folder)
    scenarios.check("auto knows what needs the teacher", code == 0 and "train.signal: online" in errors, errors)


def check_refusals(scenarios, folder):
    for title, changes, words in (
            ("other slots", {"train__signal_draws": "4"}, ["teacher.signal", "8 tokens a place", "retort cache"]),
            ("another kind", {"train__signal": "top_k"}, ["kind sampled", "kind top_k"]),
            ("another temperature", {"train__temperature": "2"}, ["temperature"]),
            ("other examples", {"train__max_length": "8"}, ["other examples"]),
            ("an objective it can't serve", {"train__objective": "reverse_kl"}, ["train.signal", "reverse_kl needs"]),
            ("hidden states", {"train__hidden_state_weight": "1"}, ["train.signal", "hidden_state_weight"]),
            ("text for a divergence", {"train__signal": "text"}, ["train.signal", "forward_kl needs"])):
        code, _, errors = run(arguments("run", "--until", "train", **changes), folder)
        scenarios.check(f"{title}: refused", code == 2, errors)
        for word in words:
            scenarios.check(f"{title}: says '{word}'", word in errors, errors)
    path = folder / "runs/cached/signal/teacher.signal"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    code, _, errors = run(arguments("run", "--until", "train", train__seed="2"), folder)
    scenarios.check("a damaged signal is refused", code == 2 and "damaged" in errors, errors)
    code, out, errors = run(arguments("cache", "--json", train__signal="top_k"), folder)
    scenarios.check("cache writes anew what doesn't fit", code == 0 and json.loads(out)["kind"] == "top_k", out + errors)
    code, _, errors = run(arguments("run", "--until", "train", train__signal="top_k"), folder)
    scenarios.check("a student is trained from top-k", code == 0, errors)


check_recipe(check_cache, check_train, check_refusals)
