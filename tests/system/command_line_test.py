"""The command line from outside: help, errors of usage, and verbs that need no teacher. Scenarios: command_line.json."""

import json
import pathlib
import time

from program import Scenarios, make_models, run, scratch

TABLE = json.loads((pathlib.Path(__file__).parent / "command_line.json").read_text())


def fits(expected, document):
    for key, value in expected.items():
        if key not in document:
            return False
        if value == "list":
            if not isinstance(document[key], list) or not document[key]:
                return False
        elif document[key] != value:
            return False
    return True


def main():
    scenarios = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        for scenario in TABLE:
            fastest = None
            for _ in range(3 if "seconds" in scenario else 1):
                started = time.monotonic()
                code, out, errors = run(scenario["arguments"], folder, stdin=scenario.get("stdin", "").encode())
                took = time.monotonic() - started
                fastest = took if fastest is None else min(fastest, took)
            told = f"exit code {code}\nstdout: {out}\nstderr: {errors}"
            title = scenario["name"]
            scenarios.check(f"{title}: exit code", code == scenario["exit"], told)
            for words in scenario.get("out", []):
                scenarios.check(f"{title}: prints '{words}'", words in out, told)
            for words in scenario.get("errors", []):
                scenarios.check(f"{title}: says '{words}'", words in errors, told)
            if "json" in scenario:
                try:
                    document = json.loads(out)
                except ValueError:
                    document = {}
                scenarios.check(f"{title}: JSON", fits(scenario["json"], document), told)
            if "seconds" in scenario:
                scenarios.check(f"{title}: within {scenario['seconds']} s", fastest < scenario["seconds"], f"{fastest} s")
    scenarios.end()


main()
