#!/usr/bin/env python3
"""Quality at equal tokens: `retort` and TRL's GKDTrainer, from the same exchanges, start and objective.

    benchmarks/quality.py --program RETORT --out FOLDER [--collected RUN] [--exchanges N] [--seeds N]

The quickstart's exchanges are collected (or taken from RUN), the student is the quickstart's 20 layers. Three students are
trained for one pass over the same exchanges, in as many steps: by TRL with forward KL, by us with forward KL alone, and by
us as the recipe has it, fitted before (student.fit_tokens). With several seeds each does so in several orders. All of them
are measured on the held-out answers by one script (peers/trl_quality.py). It is slow: most of an hour for one seed.
"""
import argparse
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RECIPE = HERE.parent / "recipes/quickstart.yaml"
HELD_OUT = 64


class Bench:
    def __init__(self, arguments):
        self.program = pathlib.Path(arguments.program).resolve()
        self.out = pathlib.Path(arguments.out).resolve()
        self.collected = pathlib.Path(arguments.collected).resolve() if arguments.collected else None
        self.settings = (f"collect.count={arguments.exchanges + HELD_OUT}", f"evaluate.held_out={HELD_OUT}", "train.tokens=0",
                         "train.epochs=1")
        self.out.mkdir(parents=True, exist_ok=True)

    def run(self, name, *settings, until="export"):
        """A run with the common exchanges; returns its folder."""
        folder = self.out / "runs" / name
        first = self.collected or self.out / "runs/collected"
        if not folder.exists() and first.exists():
            folder.mkdir(parents=True)
            for part in ("collect", "curate", "dataset", "manifest.json", "teacher.json", "recipe.yaml"):
                if (first / part).is_dir():
                    shutil.copytree(first / part, folder / part)
                elif (first / part).exists():
                    shutil.copy(first / part, folder / part)
        sets = [text for setting in (f"name={name}", "evaluate.rival=false", "evaluate.speed=false", "export.huggingface=true",
                                     *self.settings, *settings) for text in ("--set", setting)]
        subprocess.run([self.program, "run", str(RECIPE), "--until", until, *sets], cwd=self.out, check=True)
        return folder

    def checkpoint(self, folder):
        return str(next(folder.glob("**/huggingface")))

    def examples(self, folder, part, supervise_sampled):
        """The tokens of exchanges and which are learnt from, as src/dataset/example.cc has it."""
        path = self.out / f"{part}.jsonl"
        store = sqlite3.connect(folder / "collect/exchanges.sqlite")
        with open(path, "w", encoding="utf-8") as file:
            for digest in json.loads((folder / "dataset/dataset.json").read_text())[part]:
                (text,) = store.execute("SELECT bytes FROM exchanges WHERE id = ?", (bytes.fromhex(digest),)).fetchone()
                tokens = json.loads(text)["tokens"]
                supervised = [0] * len(tokens["ids"])
                last = 0
                for begin, end, kind, sampled in tokens["spans"]:
                    if kind == "assistant" or (supervise_sampled and sampled):
                        supervised[max(begin, 1):end] = [1] * (end - max(begin, 1))
                        last = end
                file.write(json.dumps({"ids": tokens["ids"][:last], "supervised": supervised[:last]}) + "\n")
        return str(path)

    def peer(self, *arguments):
        site = os.environ.get("PEERS_SITE") or subprocess.run([HERE / "peers/peers.sh", "--site"], check=True,
                                                              capture_output=True, text=True).stdout.strip()
        done = subprocess.run([HERE / "torch_python.sh", HERE / "peers/trl_quality.py", *arguments], check=True,
                              stdout=subprocess.PIPE, text=True, env={**os.environ, "PEERS_SITE": site})
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]  # the trainer prints a dict too


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--collected", help="a run of the quickstart whose exchanges are taken")
    parser.add_argument("--exchanges", type=int, default=200, help="to train on")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    bench = Bench(arguments)
    if not bench.collected:
        bench.run("collected", until="dataset")
    # A step too small to move anything: these weights as a folder.
    still = ("train.tokens=1", "train.learning_rate=1e-30", "train.hidden_state_weight=0", "train.objective=ce")
    # As the peer begins, and at the rate that suits that.
    unfitted = ("student.fit_tokens=0", "train.learning_rate=8e-4")
    teacher = bench.run("teacher", f"student.layers={json.dumps(list(range(30)))}", *still)
    common = ("--teacher", bench.checkpoint(teacher))
    students = {}
    for seed in range(1, arguments.seeds + 1):
        recipe = bench.run(f"recipe{seed}", f"train.seed={seed}")
        kept = json.loads((recipe / "train/layers.json").read_text())["kept"]
        layers = f"student.layers={json.dumps(kept)}"
        plain = bench.run(f"plain{seed}", layers, "train.hidden_state_weight=0", *unfitted, f"train.seed={seed}")
        if not students:
            students["start"] = bench.checkpoint(bench.run("start", layers, *unfitted, *still))
            train, held_out = bench.examples(recipe, "train", True), bench.examples(recipe, "held_out", False)
        by_trl = str(bench.out / f"trl{seed}")
        steps = str(sum(1 for _ in open(recipe / "train/metrics.jsonl", encoding="utf-8")))
        print(json.dumps(bench.peer("train", *common, "--student", students["start"], "--examples", train, "--steps", steps,
                                    "--seed", str(seed), "--out", by_trl)[0]), flush=True)
        students |= {f"TRL GKDTrainer, seed {seed}": by_trl,
                     f"retort, forward KL alone, seed {seed}": bench.checkpoint(plain),
                     f"retort, the recipe, seed {seed}": bench.checkpoint(recipe)}
    measured = bench.peer("measure", *common, "--examples", held_out, *students.values())
    for name, line in zip(students, measured):
        print(f"{name:34} KL {line['kl_nats']:.3f} nats, agreement {100 * line['agreement']:.1f} %, {line['tokens']} tokens")


if __name__ == "__main__":
    sys.exit(main())
