#!/usr/bin/env python3
"""TRL's GKDTrainer, off-policy, at the work of `retort bench train`: forward KL against an online teacher.

It is fed token ids, so that no tokenizer stands between the programs. Shapes are those of ../train_shapes.py, weights
random. --weights bf16 trains BF16 weights without masters, which is the fastest that it does here; fp32 and autocast
keep masters.
"""
import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pyarrow
import torch
from datasets import Dataset
from datasets.table import InMemoryTable
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl.experimental.gkd import GKDConfig, GKDTrainer

sys.path.append(str(Path(__file__).resolve().parents[1]))
from train_shapes import SHAPES  # noqa: E402


def decoder(shape, dtype, device):
    config = LlamaConfig(hidden_size=shape.hidden, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
                         head_dim=shape.head_dim, intermediate_size=shape.intermediate, num_hidden_layers=shape.layers,
                         vocab_size=shape.vocabulary, max_position_embeddings=8192, tie_word_embeddings=shape.tied,
                         rope_theta=shape.rope_theta)
    if device == "cpu":
        return LlamaForCausalLM(config).to(dtype)
    # Made where and as it is used: an 8B teacher in FP32 would fit nowhere. Training needs no cache of keys and values.
    config.use_cache = False
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def collate(rows):
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        count = len(row["ids"])
        ids[i, :count] = labels[i, :count] = torch.tensor(row["ids"])
        mask[i, :count] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class Clock(TrainerCallback):
    """Counts from the end of the second step on."""

    def on_step_end(self, args, state, control, **unused):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if state.global_step == 2:
            self.begin = time.monotonic()
        self.end = time.monotonic()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="135m")
    parser.add_argument("--layers", type=int, help="of the student (10 of 135m, 16 of 8b)")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--sequences", type=int, default=8, help="a step")
    parser.add_argument("--weights", choices=["bf16", "fp32", "autocast"], default="bf16")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    shape = SHAPES[arguments.shape].with_layers(arguments.layers)
    vocabulary = shape.student.vocabulary
    lengths = [random.randint(shape.shortest, shape.length) for _ in range(arguments.steps * arguments.sequences)]
    # With a fingerprint of its own: hashing the table fails with this Python.
    rows = [{"ids": [random.randrange(vocabulary) for _ in range(length)]} for length in lengths]
    data = Dataset(InMemoryTable(pyarrow.Table.from_pylist(rows)), fingerprint="rows")
    dtype = torch.bfloat16 if arguments.weights == "bf16" else torch.float32
    on_gpu = arguments.device == "cuda"
    # On a GPU autocast's FP32 weights are for the student alone: a frozen teacher gains nothing from them.
    teacher_dtype = torch.bfloat16 if on_gpu and arguments.weights == "autocast" else dtype
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[pad]": 0, "[end]": 1}, unk_token="[pad]")),
                                        pad_token="[pad]", eos_token="[end]")
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config = GKDConfig(output_dir=folder, per_device_train_batch_size=arguments.sequences, max_steps=arguments.steps,
                           learning_rate=1e-4, lmbda=0.0, beta=0.0, temperature=1.0, use_cpu=not on_gpu,
                           bf16=arguments.weights == "autocast", gradient_checkpointing=False, save_strategy="no",
                           report_to=[], logging_steps=1000, disable_tqdm=True, dataloader_num_workers=0,
                           optim="adamw_torch_fused", max_length=shape.length)
        trainer = GKDTrainer(model=decoder(shape.student, dtype, arguments.device),
                             teacher_model=decoder(shape.teacher, teacher_dtype, arguments.device), args=config,
                             train_dataset=data, data_collator=collate, processing_class=tokenizer,
                             callbacks=[clock])
        trainer.train()
    tokens = sum(lengths) / arguments.steps * (arguments.steps - 2)  # the order is drawn; the mean is what it is
    speed = tokens / (clock.end - clock.begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    variant = arguments.weights if arguments.shape == "135m" else f"{arguments.shape}, {arguments.weights}"
    result = {"name": f"TRL GKDTrainer, off-policy, {variant}", "shape": arguments.shape,
              "layers": shape.student.layers, "tokens_per_s": round(speed, 1),
              "tokens_per_step": round(sum(lengths) / arguments.steps, 1), "peak_rss_bytes": peak}
    if on_gpu:
        result["device"] = torch.cuda.get_device_name()
        result["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    if arguments.json:
        print(json.dumps(result))
    else:
        on_device = f", on the GPU {result['peak_device_bytes'] * 1e-9:.2f} GB" if on_gpu else ""
        print(f"TRL, {variant}: {speed:.0f} tokens/s, peak {peak * 1e-9:.2f} GB{on_device}")


if __name__ == "__main__":
    main()
