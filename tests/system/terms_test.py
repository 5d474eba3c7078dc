"""What a teacher's terms ask goes through a run and out with the student: names, notices, display lines, authorisations."""

import json

from program import check_recipe, run, toy_arguments

DOCUMENT = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
DISTRIBUTED = "{file: models/under_llama3.1.gguf, terms: {distributed: true}}"
AUTHORISED = ("{file: models/under_acme-1.gguf, terms: {authorisation: {by: Ada Legal, document: \"" + DOCUMENT +
              "\", scope: one student, expires: \"2999-12-31\"}}}")


def arguments(verb, *more, **changes):
    return toy_arguments(verb, "quickstart", *more, **{"evaluate__speed": "false", "evaluate__rival": "false",
                                                      "evaluate__answers": "1", "evaluate__resamples": "100",
                                                      "train__max_length": "128", **changes})


def check_distributed(scenarios, folder):
    code, _, errors = run(arguments("run", name="toy", teacher=DISTRIBUTED), folder)
    scenarios.check("a distributed student of Llama 3.1", code == 0, errors)
    if code != 0:
        return
    bundle = folder / "runs/toy/bundle"
    names = sorted(path.name for path in bundle.iterdir())
    scenarios.check("its files are called as asked", [name for name in names if name.endswith(".gguf")] ==
                    ["Llama-toy-F16.gguf", "Llama-toy-Q8_0.gguf"], str(names))
    card = (bundle / "README.md").read_text()
    scenarios.check("its card too", "# Llama-toy" in card and "**Built with Llama**" in card, card)
    scenarios.check("the notice is there", "NOTICE" in names and "models/llama3_1/LICENSE" in (bundle / "NOTICE").read_text())
    lineage = json.loads((bundle / "lineage.json").read_text())
    states = {duty["state"] for duty in lineage["obligations"]}
    scenarios.check("the lineage says what was done and what is left", states == {"done", "left_to_a_person"}, str(lineage))
    scenarios.check("so does the console", "terms, done: The model is called 'Llama-toy'." in errors and
                    "put it and its notices into LICENSE-llama3.1 beside NOTICE" in errors, errors)
    page = (folder / "runs/toy/report.html").read_text()
    scenarios.check("so does the report", "Left to a person" in page and "Built with Llama" in page)
    code, out, errors = run(["verify", "runs/toy/bundle"], folder)
    scenarios.check("the bundle verifies", code == 0, out + errors)
    code, _, errors = run(arguments("run", name="toy", teacher="models/under_llama3.1.gguf"), folder)
    scenarios.check("at home it is exported again under its own name", code == 0 and "export: its inputs changed" in errors and
                    (bundle / "toy-Q8_0.gguf").exists() and not (bundle / "Llama-toy-Q8_0.gguf").exists(), errors)
    code, out, errors = run(["export", "runs/toy", "--teacher", "models/under_llama3.1.gguf", "--distributed", "--json"], folder)
    scenarios.check("export by hand", code == 0 and (folder / "Llama-toy-Q8_0.gguf").exists() and
                    (folder / "Llama-toy-Q8_0.gguf.NOTICE").exists(), out + errors)
    scenarios.check("it says what it did", code == 0 and json.loads(out)["name"] == "Llama-toy" and json.loads(out)["obligations"], out)
    code, _, errors = run(["export", "runs/toy", "--teacher", "models/under_acme-1.gguf"], folder)
    scenarios.check("export stops where terms do", code == 2 and "acme-1" in errors, errors)


def check_authorised(scenarios, folder):
    code, _, errors = run(arguments("run", "--until", "export", name="lifted", teacher=AUTHORISED), folder)
    scenarios.check("an authorisation lifts what is unknown", code == 0, errors)
    if code != 0:
        return
    lineage = json.loads((folder / "runs/lifted/export/lineage.json").read_text())
    scenarios.check("it goes into the lineage", lineage["terms"]["authorisation"]["by"] == "Ada Legal" and
                    lineage["terms"]["lifted"] == "unknown", str(lineage["terms"]))
    ids = json.loads((folder / "runs/lifted/collect/collection.json").read_text())
    ids = ids["ids"] if isinstance(ids, dict) and "ids" in ids else ids
    first = next(text for text in json.dumps(ids).replace('"', " ").replace(",", " ").split() if len(text) == 64)
    code, out, errors = run(["inspect", first, "--store", "runs/lifted/collect/exchanges.sqlite", "--json"], folder)
    scenarios.check("and into every exchange", code == 0 and "authorised by Ada Legal, document " + DOCUMENT in out, out + errors)


check_recipe(check_distributed, check_authorised)
