"""`retort evaluate STUDENT --teacher T --prompts F` on two tiny models: rows with and without answers, a text, refusals.

The text's perplexity is held against `retort score` by libtorch, which shares no code with the evaluation.
"""

import json
import math
import pathlib

from program import Scenarios, make_models, run, scratch

ROWS = [{"messages": [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "def abc"}]},
        {"prompt": "abcabc"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                      {"role": "user", "content": "c"}]}]
TEXT = "abc def abc def"
QUIET = ["--no-speed", "--answers", "1", "-n", "6", "-t", "1", "--json"]


def evaluate(folder, student, *more):
    code, out, errors = run(["evaluate", f"models/{student}", "--teacher", "models/tiny.gguf", "--prompts", "rows.jsonl",
                             *QUIET, *more], folder)
    return code, json.loads(out) if code == 0 else {}, f"exit code {code}\n{out}\n{errors}"


def text_perplexity(folder, model):
    code, out, errors = run(["score", "-m", f"models/{model}", "--backend", "torch", "--json"], folder, stdin=TEXT.encode())
    logprobs = [token["logprob"] for token in json.loads(out)["tokens"] if token["logprob"] is not None]
    return math.exp(-sum(logprobs) / len(logprobs))


def check_another(scenarios, folder):
    code, card, told = evaluate(folder, "other_weights.gguf", "--text", "text.txt")
    scenarios.check("two models are compared", code == 0, told)
    if code != 0:
        return
    scenarios.check("rows without an answer are answered by the teacher", card["answered_by_teacher"] == 2, told)
    scenarios.check("every row counts", card["held_out"]["exchanges"] == 3 and card["held_out"]["tokens"] > 3, told)
    scenarios.check("the sampling is said", card["held_out"]["max_tokens"] == 6, told)
    scenarios.check("another model is another", card["student"]["kl_nats"]["value"] > 1e-4, told)
    scenarios.check("with an interval", card["student"]["kl_nats"]["low"] < card["student"]["kl_nats"]["high"], told)
    scenarios.check("the teacher is itself", card["teacher"]["kl_nats"]["value"] == 0, told)
    for side, model in (("teacher", "tiny.gguf"), ("student", "other_weights.gguf")):
        expected = text_perplexity(folder, model)
        found = card[side]["text_perplexity"]["value"]
        scenarios.check(f"the text's perplexity by the {side}", abs(found / expected - 1) < 1e-3, f"{found} {expected}")


def check_itself(scenarios, folder):
    code, card, told = evaluate(folder, "tiny.gguf")
    scenarios.check("a model and itself", code == 0 and abs(card["student"]["kl_nats"]["value"]) < 1e-6 and
                    card["student"]["top1_agreement"]["value"] == 1, told)
    again = evaluate(folder, "tiny.gguf")[1]
    scenarios.check("the same seed gives the same figures", code == 0 and again["student"] == card["student"], told)


def check_refusals(scenarios, folder):
    code, _, told = evaluate(folder, "mamba.gguf")
    scenarios.check("an architecture it can't run", code == 2 and "mamba" in told, told)
    code, _, told = evaluate(folder, "other_tokenizer.gguf")
    scenarios.check("another tokenizer", code == 2 and "different tokenizers" in told, told)
    (folder / "rows.jsonl").write_text('{"prompt": "abc"}\n{"prompt": \n')
    code, _, told = evaluate(folder, "tiny.gguf")
    scenarios.check("a broken row is named", code == 2 and "line 2" in told, told)
    (folder / "rows.jsonl").write_text("")
    code, _, told = evaluate(folder, "tiny.gguf")
    scenarios.check("no rows", code == 2 and "rows.jsonl" in told, told)


def main():
    scenarios = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        (folder / "text.txt").write_text(TEXT)
        check_another(scenarios, folder)
        check_itself(scenarios, folder)
        check_refusals(scenarios, folder)
    scenarios.end()


main()
