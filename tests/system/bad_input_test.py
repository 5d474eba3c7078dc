"""Every kind of bad input: exit code 2, one sentence that says what is wrong, and no stack trace.

The scenarios are bad_input.json. Each runs the same small recipe on a tiny model, changed in one respect.
"""

import json
import pathlib
import shutil
import subprocess

from program import Scenarios, make_models, run, scratch

TABLE = json.loads((pathlib.Path(__file__).parent / "bad_input.json").read_text())


def prepare(folder, scenario):
    (folder / "recipe.yaml").write_text("\n".join(TABLE["recipe"]) + "\n")
    for name, text in TABLE["files"].items():
        (folder / name).write_text(text)
    if "long_prompt" in scenario:
        (folder / scenario["long_prompt"]).write_text("Short.\n" + "word " * 2000 + "\n")
    if "long_file" in scenario:
        made = scenario["long_file"]
        lines = [made["bad"] if line == made["broken"] else made["good"] for line in range(1, made["rows"] + 1)]
        (folder / made["name"]).write_text("\n".join(lines) + "\n")
    if "manifest" in scenario:
        (folder / "runs/bad").mkdir(parents=True)
        (folder / "runs/bad/manifest.json").write_text(scenario["manifest"])
    if "foreign" in scenario:
        (folder / "runs/bad").mkdir(parents=True)
        (folder / "runs/bad" / scenario["foreign"]).write_text("years of work")


def can_mount():
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False).returncode == 0


def main():
    scenarios = Scenarios()
    with scratch() as models_folder:
        models = pathlib.Path(models_folder) / "models"
        make_models(models)
        for scenario in TABLE["scenarios"]:
            with scratch() as name:
                folder = pathlib.Path(name)
                (folder / "models").symlink_to(models)
                prepare(folder, scenario)
                arguments = ["run", scenario.get("recipe_file", "recipe.yaml"), *scenario.get("arguments", [])]
                for override in scenario.get("set", []):
                    arguments += ["--set", override]
                wrap = ()
                if scenario.get("small_disk"):
                    if not can_mount():
                        print(f"skipped: {scenario['name']} (no small disk can be mounted here)")
                        continue
                    (folder / "runs").mkdir()
                    wrap = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=256k tmpfs runs && exec "$@"', "sh")
                code, out, errors = run(arguments, folder, wrap=wrap)
                told = f"exit code {code}\nstdout: {out}\nstderr: {errors}"
                scenarios.check(scenario["name"] + ": exit code 2", code == 2, told)
                scenarios.check(scenario["name"] + ": a sentence of ours", "retort run: " in errors, told)
                for words in scenario["says"]:
                    scenarios.check(f"{scenario['name']}: says '{words}'", words in errors, told)
    scenarios.end()


main()
