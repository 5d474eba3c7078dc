"""What the whole-system tests share: where the program is, and how it is run."""

import os
import pathlib
import subprocess
import sys
import tempfile

PROGRAM = os.environ["RETORT_PROGRAM"]
MAKE_MODELS = os.environ["RETORT_MAKE_MODELS"]
SOURCE = pathlib.Path(os.environ["RETORT_SOURCE_DIR"])
SKIPPED = 77


def run(arguments, folder, stdin=b"", timeout_s=300, wrap=()):
    """Runs the program in `folder`; gives (exit code, stdout, stderr)."""
    done = subprocess.run([*wrap, PROGRAM, *arguments], cwd=folder, input=stdin, capture_output=True, timeout=timeout_s,
                          check=False)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def make_models(folder):
    subprocess.run([MAKE_MODELS, str(folder)], check=True)


class Scenarios:
    """Counts what passed, tells what failed, and ends with the right status."""

    def __init__(self):
        self.failures = 0
        self.passed = 0

    def check(self, name, condition, told=""):
        if condition:
            self.passed += 1
            return
        self.failures += 1
        print(f"FAILED: {name}\n{told}", file=sys.stderr)

    def end(self):
        print(f"{self.passed} passed, {self.failures} failed")
        sys.exit(1 if self.failures else 0)


def scratch():
    return tempfile.TemporaryDirectory(prefix="retort-test-")


# A shipped recipe made so small that a tiny teacher (make_models) goes through it in seconds.
TOY = {
    "teacher": "models/tiny.gguf",
    "student.layers": "2",
    "student.measured_tokens": "16",
    "collect.prompts": "{file: prompts.txt, format: lines}",
    "collect.count": "12",
    "collect.max_tokens": "12",
    "curate.min_tokens": "1",
    "curate.drop_repetition": "false",
    "evaluate.held_out": "3",
    "train.tokens": "600",
    "train.tokens_per_step": "256",
    "train.held_out_tokens": "32",
}


def make_toy_teacher(folder):
    """What TOY names: a tiny teacher and a file of prompts."""
    make_models(folder / "models")
    (folder / "prompts.txt").write_text("".join(f"Say something about number {i * i}.\n" for i in range(12)))


def check_recipe(*checks):
    """Each check(scenarios, folder) after the other, in one folder with a toy teacher."""
    scenarios = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        make_toy_teacher(folder)
        for check in checks:
            check(scenarios, folder)
    scenarios.end()


def toy_arguments(verb, recipe, *more, **changes):
    """`verb recipes/RECIPE.yaml` at toy size; changes by keyword, a dot written as two underscores."""
    values = {**TOY, **{key.replace("__", "."): value for key, value in changes.items()}}
    overrides = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return [verb, str(SOURCE / f"recipes/{recipe}.yaml"), *more, *overrides]
