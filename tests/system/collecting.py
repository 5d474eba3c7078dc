"""What the tests of `retort collect` share: a recipe of what it needs, the call, and what its store holds afterwards."""

import json
import os
import sqlite3
import subprocess

from program import PROGRAM
from scripted_api import ANSWER

KEY = "sk-scripted-0123456789"


def recipe(folder, api, count=100, collect="", teacher="", name="run", dialect="openai"):
    """A recipe of what collecting needs, and its prompts."""
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(count)))
    (folder / "recipe.yaml").write_text(f"""
name: {name}
teacher:
  api: {dialect}
  endpoints: [{{url: "{api.url}", key_env: SCRIPTED_KEY}}]
  model: HuggingFaceTB/SmolLM2-135M-Instruct
  {teacher}
collect:
  prompts: {{file: prompts.jsonl, format: jsonl}}
  count: 0
  max_tokens: 64
  {collect}
""")


def collect(folder, *more, timeout_s=120, environment=None, **options):
    """(exit code, JSON of standard output or None, standard error)."""
    done = subprocess.run([PROGRAM, "collect", "recipe.yaml", "--json", *more], cwd=folder, capture_output=True,
                          timeout=timeout_s, check=False,
                          env={**os.environ, "SCRIPTED_KEY": KEY, "RETORT_CACHE": str(folder / "cache"),
                               **(environment or {})}, **options)
    out = done.stdout.decode()
    return done.returncode, json.loads(out) if out.strip() else None, done.stderr.decode()


class Books:
    """What the run's store holds."""

    def __init__(self, folder, name="run"):
        base = sqlite3.connect(f"file:{folder}/runs/{name}/collect/exchanges.sqlite?mode=ro", uri=True)
        self.exchanges = [json.loads(row[0]) for row in base.execute("SELECT bytes FROM exchanges")]
        self.slots = dict(base.execute("SELECT slot, note FROM slots"))
        self.attempts = base.execute("SELECT count(*) FROM attempts WHERE slot >= 0").fetchone()[0]
        self.outcomes = dict(base.execute(
            "SELECT outcome, count(*) FROM settlements JOIN attempts ON number = settlements.attempt WHERE slot >= 0 GROUP BY 1"))
        self.spent, self.reserved = base.execute(
            "SELECT coalesce(sum(s.nano_usd), 0), coalesce(sum(iif(s.attempt IS NULL, a.nano_usd, 0)), 0) "
            "FROM attempts a LEFT JOIN settlements s ON s.attempt = a.number").fetchone()
        base.close()

    def wrong(self):
        """Exchanges whose answer isn't the one to their question."""
        return [e["completion"]["text"] for e in self.exchanges
                if e["completion"]["text"] != ANSWER.format(e["prompt"][-1]["content"])]
