"""`retort train --ranks 2` on a tiny teacher: two processes learn what one does, one that dies stops the other."""

import json
import os
import pathlib
import signal
import subprocess
import time

from program import PROGRAM, SOURCE, Scenarios, make_models, run, scratch

RECIPE = str(SOURCE / "recipes/two_ranks.yaml")
TINY = ["--set", "teacher=tiny.gguf", "--set", "student.layers=2", "--set", "student.measured_tokens=32", "--set", "student.fit_tokens=0",
        "--set", "collect.prompts.file=prompts.txt", "--set", "collect.prompts.format=lines",
        "--set", "collect.count=12", "--set", "collect.max_tokens=12", "--set", "curate.drop_repetition=false",
        "--set", "curate.min_tokens=1", "--set", "evaluate.held_out=3", "--set", "train.max_length=256",
        "--set", "train.tokens_per_step=512", "--set", "train.held_out_tokens=64", "--set", "train.tokens=4096",
        "--set", "train.checkpoint_every=1", "--set", "train.compute=fp32"]


def metrics(folder, name):
    path = folder / f"runs/{name}/train/metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rank_process(parent, rank):
    """The process of a rank that the launcher has started."""
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rsplit(")", 1)[1].split()[1]) != parent:
                continue
            if f"RANK={rank}".encode() in (status.parent / "environ").read_bytes().split(b"\0"):
                return int(status.parent.name)
        except OSError:  # it has ended
            continue
    return None


def check_as_many(scenarios, one, two, title, share, nats=0.0):
    """Two lists of metrics: as many steps, of the same tokens, and losses that differ by a share of them and by nats at most."""
    scenarios.check(f"as many steps{title}", len(one) == len(two) > 2, f"{len(one)} {len(two)}")
    for a, b in zip(one, two):
        close = abs(a["loss"] - b["loss"]) <= share * a["loss"] + nats and a["supervised_tokens"] == b["supervised_tokens"]
        scenarios.check(f"the same loss{title} at step {a['step']}", close, f"{a} {b}")


def check_same_losses(scenarios, folder):
    for ranks in (1, 2):
        code, out, errors = run(["train", RECIPE, *TINY, "--set", f"name=on{ranks}", "--ranks", str(ranks), "--json"], folder)
        scenarios.check(f"trains on {ranks}", code == 0 and json.loads(out)["training"]["steps"] > 2, f"{code} {out} {errors}")
    check_as_many(scenarios, metrics(folder, "on1"), metrics(folder, "on2"), "", 1e-4)
    code, out, errors = run(["train", RECIPE, *TINY, "--set", "name=on2", "--ranks", "2", "--json"], folder)
    scenarios.check("a finished training is kept", code == 0 and json.loads(out)["kept"], f"{code} {out} {errors}")


def check_own_answers(scenarios, folder):
    """On-policy: both ranks answer as the student, the first keeps the answers."""
    own = ["--set", "train.on_policy_from=0.5", "--set", "train.rollout_every=2", "--set", "train.rollout_tokens=12"]
    for ranks in (1, 2):
        code, out, errors = run(["train", RECIPE, *TINY, *own, "--set", f"name=own{ranks}", "--ranks", str(ranks), "--json"], folder)
        scenarios.check(f"learns from its own answers on {ranks}", code == 0, f"{code} {out} {errors}")
    one, two = metrics(folder, "own1"), metrics(folder, "own2")
    scenarios.check("some of it was learnt from them", one and one[-1]["rollout_loss"] > 0, str(one))
    check_as_many(scenarios, one, two, " with own answers", 1e-3)


def check_fitted_start(scenarios, folder):
    """The first rank fits the student and hands it out. So near its teacher rounding is more of the loss than a share of it."""
    for ranks in (1, 2):
        fitted = ["--set", "student.fit_tokens=256", "--set", f"name=fitted{ranks}"]
        code, out, errors = run(["train", RECIPE, *TINY, *fitted, "--ranks", str(ranks), "--json"], folder)
        scenarios.check(f"trains a fitted student on {ranks}", code == 0, f"{code} {out} {errors}")
        scenarios.check(f"which was fitted, on {ranks}", (folder / f"runs/fitted{ranks}/train/fit.json").exists())
    check_as_many(scenarios, metrics(folder, "fitted1"), metrics(folder, "fitted2"), " of a fitted student", 1e-4, 2e-5)


def check_started_by_others(scenarios, folder):
    """As torchrun, Slurm and mpirun do: every process with its own variables."""
    processes = []
    for rank in range(2):
        variables = {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
                     "SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_ID": str(os.getpid())}
        processes.append(subprocess.Popen([PROGRAM, "train", RECIPE, *TINY, "--set", "name=slurm"], cwd=folder,
                                          env={**os.environ, **variables}, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, text=True))
    told = [process.communicate(timeout=300) for process in processes]
    scenarios.check("ranks of Slurm train", all(p.returncode == 0 for p in processes), str(told))
    scenarios.check("only the first speaks", told[0][0] and not told[1][0] and not told[1][1], str(told))
    losses = [[step["loss"] for step in metrics(folder, name)] for name in ("on2", "slurm")]
    scenarios.check("two ranks give the same bits whoever starts them", losses[0] == losses[1], str(losses))


def check_a_dying_rank(scenarios, folder, victim):
    """Killed in training: the other stops with a sentence, and the same command goes on."""
    name = f"dies{victim}"
    command = ["train", RECIPE, *TINY, "--set", f"name={name}", "--set", "train.tokens=200000", "--ranks", "2"]
    process = subprocess.Popen([PROGRAM, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(metrics(folder, name)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child = rank_process(process.pid, victim)
    scenarios.check("the rank is there", child is not None)
    os.kill(child or process.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    _, errors = process.communicate(timeout=120)
    scenarios.check("the others stop soon", time.monotonic() - killed_at < 30)
    scenarios.check("with the exit code of the world's failures", process.returncode == 1, f"{process.returncode} {errors}")
    scenarios.check("a rank says who is missing and what to do",
                    f"Rank {victim} of 2 ended" in errors and "same command" in errors, errors)
    scenarios.check("and who was killed", f"Rank {victim} was killed by signal 9" in errors, errors)
    before = len(metrics(folder, name))
    process = subprocess.Popen([PROGRAM, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(metrics(folder, name)) < before + 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    scenarios.check("training goes on", "goes on from step" in errors, errors)
    scenarios.check("a stop is passed on, and saves", process.returncode == 130, f"{process.returncode} {errors}")
    code, out, errors = run(["inspect", f"runs/{name}/train/checkpoint.safetensors", "--json"], folder)
    scenarios.check("the checkpoint is whole", code == 0, out + errors)


def main():
    scenarios = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder)
        (folder / "prompts.txt").write_text("".join(f"Say something about number {i * i}.\n" for i in range(12)))
        check_same_losses(scenarios, folder)
        check_own_answers(scenarios, folder)
        check_fitted_start(scenarios, folder)
        check_started_by_others(scenarios, folder)
        for victim in (1, 0):
            check_a_dying_rank(scenarios, folder, victim)
        code, _, errors = run(["train", RECIPE, *TINY, "--ranks", "0"], folder)
        scenarios.check("no ranks at all are refused", code == 2, errors)
    scenarios.end()


if __name__ == "__main__":
    main()
