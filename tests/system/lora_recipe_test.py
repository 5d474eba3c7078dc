"""recipes/lora.yaml at toy size on a tiny teacher: adapters are trained, merged, kept, and everything else works beside them."""

import json
import struct

from program import check_recipe, run, toy_arguments

SCALE = 1.0  # lora_alpha / lora_rank of the recipe
PEFT = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def arguments(verb, *more, **changes):
    # Unfitted and fast, so that a few steps show that something is learnt.
    return toy_arguments(verb, "lora", *more, **{"train__max_length": "128", "student__fit_tokens": "0",
                                                 "train__learning_rate": "2e-3", **changes})


def metrics(folder, name="lora"):
    path = folder / f"runs/{name}/train/metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def tensors(path):
    """{name: (shape, values)} of a safetensors file in F32."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    result = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            result[name] = (entry["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[begin:end]))
    return result


def check_plan(scenarios, folder):
    memory = {}
    for rank in ("32", "0"):
        changes = {} if rank == "32" else {"train__lora_rank": "0", "train__lora_alpha": "16"}
        code, out, errors = run(arguments("plan", "--json", **changes), folder)
        scenarios.check(f"a plan of rank {rank}", code == 0, errors)
        if code != 0:
            return
        plan = json.loads(out)
        scenarios.check("proved", all(check["passed"] for check in plan["checks"]), out)
        stage = next(stage for stage in plan["stages"] if stage["name"] == "train")
        memory[rank] = stage["memory_bytes"]
        scenarios.check("it says whether adapters are trained", ("adapters of rank 32" in stage["what"]) == (rank == "32"), out)
    scenarios.check("both are predicted", all(memory.values()), str(memory))


def check_run(scenarios, folder):
    code, _, errors = run(arguments("run", "--until", "evaluate"), folder)
    scenarios.check("the recipe goes through export and evaluation", code == 0, errors)
    if code != 0:
        return
    scenarios.check("it says what is trained", "Adapters of rank 32 are trained beside 14 matrices" in errors, errors)
    lines = metrics(folder)
    scenarios.check("it is learnt", lines[-1]["loss"] < lines[0]["loss"], str(lines))
    checks = json.loads((folder / "runs/lora/train/preflight.json").read_text())
    scenarios.check("it was proved first", len(checks) == 8 and all(check["passed"] for check in checks), json.dumps(checks))
    adapter = folder / "runs/lora/train/adapter"
    config = json.loads((adapter / "adapter_config.json").read_text())
    scenarios.check("the adapters are kept as PEFT reads them", config["r"] == 32 and config["peft_type"] == "LORA", str(config))
    scenarios.check("all of them", len(tensors(adapter / "adapter_model.safetensors")) == 28)
    lineage = json.loads((folder / "runs/lora/export/lineage.json").read_text())
    scenarios.check("the lineage says so", lineage["training"]["lora_rank"] == 32, str(lineage))
    code, _, errors = run(arguments("run", "--until", "evaluate"), folder)
    scenarios.check("an unchanged run repeats nothing", code == 0 and "train: unchanged, kept" in errors, errors)


def check_merged(scenarios, folder):
    """A student from another file: what began, the adapters and what ended fit together, number by number."""
    code, _, errors = run(arguments("run", "--until", "train", name="from", student__from="models/tiny.gguf", student__fit_tokens="64",
                                    train__hidden_state_weight="0", train__lora_rank="4", train__lora_alpha="4"), folder)
    scenarios.check("student.from", code == 0, errors)
    if code != 0:
        return
    train = folder / "runs/from/train"
    start, end = tensors(train / "start.safetensors"), tensors(train / "student.safetensors")
    adapters = tensors(train / "adapter/adapter_model.safetensors")
    changed = 0
    for name, (shape, values) in end.items():
        parts = name.split(".")
        module = PEFT.get(parts[2]) if parts[0] == "blk" else None
        if module is None:
            scenarios.check(f"{name} stays to the bit", values == start[name][1])
            continue
        prefix = f"base_model.model.model.layers.{parts[1]}.{module}"
        (rank, width), a = adapters[f"{prefix}.lora_A.weight"]
        _, b = adapters[f"{prefix}.lora_B.weight"]
        worst = 0.0
        for row in range(shape[0]):
            for column in range(0, width, 7):
                added = sum(b[row * rank + k] * a[k * width + column] for k in range(rank))
                worst = max(worst, abs(start[name][1][row * width + column] + SCALE * added - values[row * width + column]))
        scenarios.check(f"{name} is W + B A", worst < 1e-5, str(worst))
        changed += values != start[name][1]
    scenarios.check("every adapter has learnt", changed == 14, str(changed))


def check_with_others(scenarios, folder):
    for title, changes in (("recomputed blocks", {"train__recompute": "blocks"}),
                           ("8 bits, attention alone", {"train__optimiser_bits": "8", "train__lora_targets": "attention"}),
                           ("a narrower student", {"student__intermediate": "32", "train__lora_targets": "mlp"}),
                           ("kept signal", {"train__signal": "sampled", "train__hidden_state_weight": "0"}),
                           ("on-policy", {"train__on_policy_from": "0.3", "train__rollout_tokens": "8",
                                          "train__rollout_every": "2"})):
        code, _, errors = run(arguments("run", "--until", "train", **changes), folder)
        scenarios.check(title, code == 0, errors)
    scenarios.check("its own answers were learnt from", any("rollout_loss" in line for line in metrics(folder)))
    for ranks in (1, 2):
        code, _, errors = run(arguments("train", "--ranks", str(ranks), name=f"on{ranks}", train__compute="fp32",
                                        train__tokens="1200"), folder)
        scenarios.check(f"{ranks} ranks", code == 0, errors)
    one, two = metrics(folder, "on1"), metrics(folder, "on2")
    scenarios.check("the same losses on two ranks", len(one) == len(two) > 2 and
                    all(abs(a["loss"] - b["loss"]) <= 1e-4 * a["loss"] for a, b in zip(one, two)), f"{one} {two}")


def check_refusals(scenarios, folder):
    for title, changes, words in (
            ("targets without a rank", {"train__lora_rank": "0", "train__lora_alpha": "16", "train__lora_targets": "mlp"},
             ["train.lora_targets", "lora_rank above 0"]),
            ("alpha without a rank", {"train__lora_rank": "0"}, ["train.lora_alpha"]),
            ("an embedding that shall be trained", {"train__embedding_rate": "0.5"}, ["train.embedding_rate", "expected 0"]),
            ("no such targets", {"train__lora_targets": "heads"}, ["train.lora_targets", "attention"]),
            ("a fresh student", {"student__fresh": "{layers: 1}", "student__layers": "0", "train__hidden_state_weight": "0"},
             ["train.lora_rank", "student.fresh"])):
        code, _, errors = run(arguments("run", "--until", "train", **changes), folder)
        scenarios.check(f"{title}: refused", code == 2, errors)
        for word in words:
            scenarios.check(f"{title}: says '{word}'", word in errors, errors)


check_recipe(check_plan, check_run, check_merged, check_with_others, check_refusals)
