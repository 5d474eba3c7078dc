"""recipes/served-teacher.yaml at toy size on a tiny teacher, from answered prompts to a verified bundle: with the teacher's file
beside the API, and with its text alone; from answered prompts, and asked of `retort serve`."""

import json

from program import check_recipe, run, toy_arguments
from server import Server

SERVED = "{{api: openai, endpoints: [{{url: '{url}'}}], model: {model}{more}}}"
WITH_FILE = ", file: models/tiny.gguf"
TEXT = {"student__from": "models/other_weights.gguf", "student__layers": "1", "train__objective": "ce",
        "train__hidden_state_weight": "0", "terms__accepted_by": "Jane Doe", "terms__accepted_licence": "apache-2.0"}


def teacher(more="", url="http://127.0.0.1:9/v1", model="some-model"):
    return SERVED.format(url=url, model=model, more=more)


def arguments(verb, name, *more, **changes):
    return toy_arguments(verb, "served-teacher", *more, **{
        "name": name, "collect__prompts": "{file: answered.jsonl, format: jsonl}", "train__max_length": "128",
        "collect__samples_per_prompt": "1",
        "student__fit_tokens": "0",  # nearer to its random model it would know still less of these answers
        "evaluate__rival": "false", "evaluate__speed": "false", "evaluate__resamples": "100", "evaluate__answers": "2",
        **changes})


def write_answers(folder):
    rows = [{"messages": [{"role": "user", "content": f"Say something about number {i * i}."},
                          {"role": "assistant", "content": f"The number {i * i} is the square of {i}, and that is all."}]}
            for i in range(14)]
    (folder / "answered.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(folder, name):
    return json.loads((folder / "runs" / name).read_text())


def metrics(folder, name):
    return [json.loads(line) for line in (folder / f"runs/{name}/train/metrics.jsonl").read_text().splitlines()]


def verified(scenarios, folder, name, *more):
    code, out, errors = run(["verify", f"runs/{name}", "--json", *more], folder)
    scenarios.check(f"{name}: its bundle is verified", code == 0, out + errors)
    return {check["subject"]: check for check in json.loads(out)["checks"]} if code == 0 else {}


def check_with_file(scenarios, folder):
    write_answers(folder)
    code, out, errors = run(arguments("run", "file", teacher=teacher(WITH_FILE)), folder)
    scenarios.check("with the file: the recipe goes through", code == 0 and "KL" in out, out + errors)
    if code != 0:
        return
    card = read(folder, "file/scorecard.json")
    scenarios.check("with the file: compared with the teacher", card["student"]["kl_nats"] and card["teacher"]["kl_nats"], str(card))
    scenarios.check("with the file: nothing was asked", read(folder, "file/collect/summary.json")["from_file"] == 12)
    lineage = read(folder, "file/bundle/lineage.json")
    scenarios.check("with the file: the lineage names service and file", lineage["teacher"]["served"]["model"] == "some-model"
                    and lineage["teacher"]["file"] == "tiny.gguf" and "base" not in lineage, str(lineage))
    verified(scenarios, folder, "file", "--teacher", "models/tiny.gguf")
    changed = arguments("run", "file", teacher=teacher(WITH_FILE, url="http://127.0.0.1:10/v1"))
    code, _, errors = run(changed, folder)
    scenarios.check("another address repeats nothing", code == 0 and "done again" not in errors, errors)
    code, _, errors = run([*changed, "--set", "teacher=" + teacher(WITH_FILE, model="another"), "--until", "collect"], folder)
    scenarios.check("another model is asked anew", code == 0 and "collect: its inputs changed" in errors, errors)


def check_here(scenarios, folder):
    """A teacher that is a file: `retort collect` tells the same things of it."""
    code, out, errors = run(arguments("collect", "here", "--json", teacher="models/tiny.gguf", student__layers="1",
                                      collect__prompts="{file: prompts.txt, format: lines}"), folder)
    told = json.loads(out) if code == 0 else {}
    scenarios.check("collected here: the same members", code == 0 and told["complete"] and told["planned"] == told["committed"] == 12
                    and told["stopped"] is None and {"attempts", "failed", "input_tokens", "output_tokens", "spent_usd",
                                                     "reserved_usd"} <= told.keys(), out + errors)
    # Nothing but what collecting needs; a run that says what the student is takes the answers up.
    (folder / "alone.yaml").write_text(
        "name: alone\nteacher: models/tiny.gguf\n"
        "collect: {prompts: {file: prompts.txt, format: lines}, count: 0, max_tokens: 8}\n"
        "terms: {accepted_by: Jane Doe, accepted_licence: apache-2.0}\n")
    code, out, errors = run(["collect", "alone.yaml", "--json"], folder)
    scenarios.check("collected without a student", code == 0 and json.loads(out)["committed"] == 12, out + errors)
    scenarios.check("by the terms of its answers", read(folder, "alone/teacher.json")["terms"]["relation"] == "outputs")
    code, out, errors = run(["run", "alone.yaml", "--until", "curate"], folder)
    scenarios.check("a run wants a student", code == 2 and "student.layers" in errors, errors)
    code, out, errors = run(["run", "alone.yaml", "--until", "curate", "--set", "student.layers=1", "--set", "evaluate.held_out=2"],
                            folder)
    scenarios.check("and takes the answers up", code == 0 and "collect: unchanged" in errors, errors)


def check_text_alone(scenarios, folder):
    changes = {"teacher": teacher(), **TEXT}
    code, out, errors = run(arguments("plan", "text", "--json", **changes), folder)
    scenarios.check("text alone: it can be planned", code == 0 and "text alone" in json.loads(out)["unchecked"], out + errors)
    code, out, errors = run(arguments("run", "text", **changes), folder)
    scenarios.check("text alone: the recipe goes through", code == 0, out + errors)
    if code != 0:
        return
    scenarios.check("text alone: said", "text of some-model's answers alone" in errors, errors)
    scenarios.check("text alone: the program says what there is", "some-model, by its answers alone" in out and "perplexity" in out
                    and "agreement" not in out, out)
    card = read(folder, "text/scorecard.json")
    for role in ("before", "student"):
        scenarios.check(f"text alone: {role}", card[role]["perplexity"] and card[role]["generated_tokens"]
                        and card[role]["kl_nats"] is None and card[role]["top1_agreement"] is None, str(card[role]))
    scenarios.check("text alone: no figure of the teacher's file", card["teacher"]["perplexity"] is None
                    and card["teacher"]["size_bytes"] is None and card["teacher"]["generated_tokens"], str(card["teacher"]))
    lines = metrics(folder, "text")
    scenarios.check("text alone: it is learnt", lines[-1]["loss"] < lines[0]["loss"], str(lines))
    scenarios.check("text alone: cross-entropy is measured, KL isn't", lines[-1]["held_out_cross_entropy"] > 0
                    and all(line["held_out_kl"] is None and line["kl"] is None for line in lines), str(lines[-1]))
    health = lines[-1]["health"]
    scenarios.check("text alone: health says only what it can", health["teacher_entropy"] is None and health["agreement"] is None
                    and health["student_entropy"] > 0 and health["answers"], str(health))
    checks = read(folder, "text/train/preflight.json")
    scenarios.check("text alone: proved first, without a teacher", all(check["passed"] for check in checks)
                    and "teacher" not in {check["name"] for check in checks}, str(checks))
    lineage = read(folder, "text/bundle/lineage.json")
    scenarios.check("text alone: the lineage names service and base", "file" not in lineage["teacher"]
                    and lineage["teacher"]["served"] == {"api": "openai", "model": "some-model", "endpoints": ["http://127.0.0.1:9/v1"]}
                    and lineage["base"]["file"] == "other_weights.gguf", str(lineage))
    card_text = (folder / "runs/text/bundle/README.md").read_text()
    scenarios.check("text alone: the card says so", "gave its text alone" in card_text and "asked as `some-model`" in card_text
                    and "layers of 'Tiny test model'" in card_text, card_text)
    scenarios.check("text alone: there is a report", "perplexity on the teacher" in (folder / "runs/text/report.html").read_text())
    found = verified(scenarios, folder, "text", "--teacher", "models/other_weights.gguf")
    scenarios.check("text alone: what is checked is the base", found.get("base", {}).get("state") == "passed"
                    and found.get("teacher", {}).get("state") == "not_checked", str(found))
    code, out, errors = run(["verify", "runs/text", "--teacher", "models/tiny.gguf"], folder)
    scenarios.check("text alone: another base is noticed", code == 2 and "isn't the base" in out, out + errors)
    code, _, errors = run(arguments("run", "text", **changes), folder)
    scenarios.check("text alone: an unchanged run repeats nothing", code == 0 and "train: unchanged, kept" in errors, errors)


def check_with_others(scenarios, folder):
    for title, more in (("adapters", {"train__lora_rank": "4", "train__lora_alpha": "4"}),
                        ("a narrower student", {"student__intermediate": "64"}),  # 32 is too narrow for llama.cpp with AMX
                        ("the whole base", {"student__layers": "0"}),
                        ("as a folder too", {"export__huggingface": "true"})):
        code, _, errors = run(arguments("run", "more", "--until", "bundle", **{"teacher": teacher(), **TEXT, **more}), folder)
        scenarios.check(f"text alone: {title}", code == 0, errors)
        if code == 0:
            verified(scenarios, folder, "more")
    # The last of them is a folder to begin from, with the vocabulary of a file.
    based = {"teacher": teacher(), **TEXT, "student__from": "runs/more/bundle/huggingface", "student__layers": "0"}
    code, _, errors = run(arguments("run", "based", "--until", "bundle", **based), folder)
    scenarios.check("text alone: a folder needs a vocabulary", code == 2 and "student.vocabulary" in errors, errors)
    based["student__vocabulary"] = "models/other_weights.gguf"
    code, _, errors = run(arguments("run", "based", "--until", "bundle", **based), folder)
    scenarios.check("text alone: a folder to begin from", code == 0, errors)
    if code == 0:
        verified(scenarios, folder, "based")
        base = read(folder, "based/bundle/lineage.json")["base"]
        scenarios.check("text alone: its lineage names the folder", base["file"].startswith("huggingface."), str(base))
        code, _, errors = run(arguments("run", "based", "--until", "bundle", **based), folder)
        scenarios.check("text alone: a folder that stayed repeats nothing", code == 0 and "train: unchanged, kept" in errors, errors)
    losses = {}
    for ranks in (1, 2):
        code, _, errors = run(arguments("train", f"on{ranks}", "--ranks", str(ranks), **{"teacher": teacher(), **TEXT,
                                        "train__compute": "fp32"}), folder)
        scenarios.check(f"text alone: {ranks} ranks", code == 0, errors)
        losses[ranks] = [line["loss"] for line in metrics(folder, f"on{ranks}")] if code == 0 else []
    scenarios.check("text alone: the same losses on two ranks", len(losses[1]) == len(losses[2]) > 1 and
                    all(abs(a - b) <= 1e-4 * a for a, b in zip(losses[1], losses[2])), str(losses))


def check_refusals(scenarios, folder):
    for title, verb, changes, words in (
            ("an objective", "run", {"train__objective": "reverse_kl"}, ["train.objective", "reverse_kl", "expected ce", "teacher.file"]),
            ("the default objective", "run", {"train__objective": "forward_kl"}, ["train.objective", "expected ce"]),
            ("a kept signal", "run", {"train__signal": "sampled"}, ["train.signal", "text alone"]),
            ("its own answers", "run", {"train__on_policy_from": "0.5"}, ["train.on_policy_from"]),
            ("hidden states", "run", {"train__hidden_state_weight": "1"}, ["train.hidden_state_weight"]),
            ("nothing to begin from", "run", {"student__from": '""'}, ["student.from", "GGUF"]),
            ("terms nobody answers for", "run", {"terms__accepted_by": '""'}, ["some-model", "accepted_by"]),
            ("nothing to cache", "cache", {}, ["no signal to keep", "text alone"])):
        code, _, errors = run(arguments(verb, "no", **{"teacher": teacher(), **TEXT, **changes}), folder)
        scenarios.check(f"{title}: refused", code == 2, errors)
        for word in words:
            scenarios.check(f"{title}: says '{word}'", word in errors, errors)


def check_logprobs(scenarios, folder, url, asked):
    """The student learns from what the API tells of its tokens: the drawn one's probability, and the likeliest."""
    first = {}
    for likeliest in ("0", "5"):
        name = f"told{likeliest}"
        changes = {**TEXT, **asked, "teacher": teacher("", url, "tiny"), "student__from": "models/tiny.gguf",
                   "collect__logprobs": likeliest, "collect__temperature": "1", "collect__top_p": "1",
                   "train__signal": "auto", "train__objective": "forward_kl", "train__compute": "fp32"}
        code, out, errors = run(arguments("run", name, **changes), folder)
        scenarios.check(f"{name}: the recipe goes through", code == 0 and "told the probabilities of" in errors, out + errors)
        if code != 0:
            continue
        lines = metrics(folder, name)
        first[likeliest] = lines[0]["loss"]
        scenarios.check(f"{name}: it is learnt", lines[-1]["health"]["perplexity"] < lines[0]["health_before"]["perplexity"]
                        and "told" in lines[0]["objective"], str(lines))
        checks = {check["name"]: check for check in read(folder, f"{name}/train/preflight.json")}
        scenarios.check(f"{name}: proved first", checks["reference"]["passed"], str(checks))
        scenarios.check(f"{name}: the report says so", "what it told of their" in (folder / f"runs/{name}/report.html").read_text())
        code, out, errors = run(arguments("cache", name, "--json", **changes), folder)
        scenarios.check(f"{name}: the signal is kept", code == 0 and json.loads(out)["kept"] and json.loads(out)["kind"] == "logprobs",
                        out + errors)
    scenarios.check("more is told of more tokens", len(first) == 2 and first["5"] > first["0"], str(first))
    stranger = {**TEXT, **asked, "teacher": teacher("", url, "tiny"), "collect__logprobs": "0", "train__signal": "logprobs",
                "train__objective": "forward_kl"}
    code, _, errors = run(arguments("run", "untold", **{**stranger, "collect__logprobs": "null"}), folder)
    scenarios.check("logprobs that aren't collected", code == 2 and "collect.logprobs" in errors, errors)
    code, _, errors = run(arguments("run", "untold", **{**stranger, "teacher": "models/tiny.gguf"}), folder)
    scenarios.check("logprobs of a file", code == 2 and "an API tells" in errors, errors)
    write_answers(folder)  # came with a file: nobody told of them
    code, _, errors = run(arguments("run", "untold", **{**stranger, "collect__prompts": "{file: answered.jsonl, format: jsonl}"}), folder)
    scenarios.check("answers without them", code == 2 and "were collected without" in errors, errors)


def check_asked(scenarios, folder):
    """The teacher really is behind an API: the program's own server."""
    with Server(folder, "models/tiny.gguf") as server:
        url = server.url + "/v1"
        asked = {"collect__prompts": "{file: prompts.txt, format: lines}", "collect__samples_per_prompt": "2"}
        code, out, errors = run(arguments("run", "asked", teacher=teacher(WITH_FILE, url, "tiny"), **asked), folder)
        scenarios.check("asked, with the file: the recipe goes through", code == 0 and "KL" in out, out + errors)
        if code == 0:
            summary = read(folder, "asked/collect/summary.json")
            scenarios.check("asked: every answer came over HTTP", summary["asked"] == 12 and summary["from_file"] == 0
                            and summary["service"]["complete"], str(summary))
            verified(scenarios, folder, "asked", "--teacher", "models/tiny.gguf")
            code, _, errors = run(arguments("run", "asked", teacher=teacher(WITH_FILE, url, "tiny"), **asked), folder)
            scenarios.check("asked: nothing is asked again", code == 0 and "collect: unchanged" in errors, errors)
        code, out, errors = run(arguments("run", "alone", **{**TEXT, **asked, "teacher": teacher("", url, "tiny"),
                                "collect__logprobs": "0", "collect__temperature": "1", "collect__top_p": "1"}), folder)
        scenarios.check("asked, text alone: the recipe goes through", code == 0, out + errors)
        if code == 0:
            card = read(folder, "alone/scorecard.json")
            scenarios.check("asked, text alone: the KL is estimated from its log-probabilities",
                            card["student"]["kl_nats"] is not None and card["student"]["top1_agreement"] is None, str(card))
            verified(scenarios, folder, "alone")
        check_logprobs(scenarios, folder, url, asked)
        (folder / "completed.yaml").write_text(
            f"name: completed\nteacher: {{api: openai_completions, endpoints: [{{url: '{url}'}}], model: tiny}}\n"
            "collect: {prompts: {file: prompts.txt, format: lines}, count: 0, max_tokens: 8}\n"
            "terms: {accepted_by: Jane Doe, accepted_licence: apache-2.0}\n")
        code, out, errors = run(["collect", "completed.yaml", "--json"], folder)
        scenarios.check("asked to go on with a text", code == 0 and json.loads(out)["committed"] == 12, out + errors)
        code, _, errors = run(["collect", "completed.yaml", "--set", "collect.system=Be brief."], folder)
        scenarios.check("a conversation isn't a text", code == 2 and "one user's turn" in errors, errors)
        (folder / "both.yaml").write_text(
            f"name: both\nteacher: {{api: openai_completions, endpoints: [{{url: '{url}'}}], model: tiny, file: models/tiny.gguf}}\n"
            "collect: {prompts: self_generated, count: 6, max_tokens: 8, max_user_tokens: 200, attempts: 16, temperature: 1}\n"
            "terms: {accepted_by: Jane Doe, accepted_licence: apache-2.0}\n")
        code, out, errors = run(["collect", "both.yaml", "--json"], folder)
        told = json.loads(out) if code == 0 else {}
        scenarios.check("the teacher writes the user's turn too", code == 0 and told["complete"] and told["committed"] == 6
                        and told["given_up"] < 6, out + errors)
        code, again, errors = run(["collect", "both.yaml", "--json"], folder)
        scenarios.check("and is never asked again", code == 0 and json.loads(again)["attempts"] == told.get("attempts"), again + errors)
    code, _, errors = run(arguments("run", "gone", teacher=teacher(WITH_FILE, url, "tiny"), **asked, collect__seed="9", collect__ready_s="1"),
                         folder)
    scenarios.check("nobody there", code == 1 and "no connection" in errors, errors)


check_recipe(check_asked, check_here, check_with_file, check_text_alone, check_with_others, check_refusals)
