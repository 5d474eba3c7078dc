"""The official npm client against `retort serve`, unchanged, where there is a Node.js.

`make test` installs the client once into the cache (scripts/clients.sh, tests/system/npm)."""

import json
import pathlib
import shutil
import subprocess
import sys

from program import SKIPPED, SOURCE, Scenarios, make_models, scratch
from server import Server

SITE = pathlib.Path(subprocess.run([SOURCE / "scripts/clients.sh", "--npm-path"], capture_output=True, text=True,
                                   check=True).stdout.strip())
if shutil.which("node") is None or not (SITE / "done").exists():
    print(f"skipped: there is no Node.js, or no client in {SITE} (scripts/clients.sh installs it where npm is)")
    sys.exit(SKIPPED)


def main():
    checks = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        with Server(folder, "models/tiny.gguf", "--parallel", "4", "--ctx-size", "256") as server:
            # Node looks for packages beside the program.
            shutil.copy(SOURCE / "tests/system/npm/client.mjs", folder / "client.mjs")
            (folder / "node_modules").symlink_to(SITE / "node_modules")
            done = subprocess.run(["node", "client.mjs", server.url + "/v1"], cwd=folder, capture_output=True, text=True,
                                  timeout=120, check=False)
        checks.check("the program ran", done.returncode == 0, done.stderr)
        seen = json.loads(done.stdout or "{}")
        checks.check("a stream says the same", seen.get("whole") is not None and seen["whole"] == seen["streamed"], seen)
        checks.check("usage", seen.get("usage") is not None and seen["usage"] == seen["streamedUsage"], seen)
        checks.check("logprobs", seen.get("tops") and set(seen["tops"]) == {2}, seen)
        checks.check("scoring", len(seen.get("scored", [])) > 1 and seen["scored"][0] is None and seen["scored"][1] < 0, seen)
        checks.check("models", seen.get("models") == ["tiny"], seen)
        checks.check("errors", seen.get("error") == ["NotFoundError", 404, "model_not_found", "model"], seen)
    checks.end()


if __name__ == "__main__":
    main()
