#!/usr/bin/env python3
"""TRL's GKDTrainer, off-policy, at the work of `retort bench train`: forward KL against a 30-layer teacher, 10-layer student.

It is fed token ids, so that no tokenizer stands between the programs. Shapes are those of SmolLM2-135M, weights random.
--weights bf16 trains BF16 weights without masters, which is the fastest that it does here; fp32 and autocast keep masters.
"""
import argparse
import json
import os
import random
import resource
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pyarrow
import torch
from datasets import Dataset
from datasets.table import InMemoryTable
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl.experimental.gkd import GKDConfig, GKDTrainer

VOCABULARY = 49152


def decoder(layers, dtype):
    config = LlamaConfig(hidden_size=576, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536,
                         num_hidden_layers=layers, vocab_size=VOCABULARY, max_position_embeddings=8192,
                         tie_word_embeddings=True, rope_theta=100000.0)
    return LlamaForCausalLM(config).to(dtype)


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
        if state.global_step == 2:
            self.begin = time.monotonic()
        self.end = time.monotonic()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--sequences", type=int, default=8, help="a step")
    parser.add_argument("--weights", choices=["bf16", "fp32", "autocast"], default="bf16")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    lengths = [random.randint(64, 256) for _ in range(arguments.steps * arguments.sequences)]
    # With a fingerprint of its own: hashing the table fails with this Python.
    rows = [{"ids": [random.randrange(VOCABULARY) for _ in range(length)]} for length in lengths]
    data = Dataset(InMemoryTable(pyarrow.Table.from_pylist(rows)), fingerprint="rows")
    dtype = torch.bfloat16 if arguments.weights == "bf16" else torch.float32
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[pad]": 0, "[end]": 1}, unk_token="[pad]")),
                                        pad_token="[pad]", eos_token="[end]")
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config = GKDConfig(output_dir=folder, per_device_train_batch_size=arguments.sequences, max_steps=arguments.steps,
                           learning_rate=1e-4, lmbda=0.0, beta=0.0, temperature=1.0, use_cpu=True,
                           bf16=arguments.weights == "autocast", gradient_checkpointing=False, save_strategy="no",
                           report_to=[], logging_steps=1000, disable_tqdm=True, dataloader_num_workers=0,
                           optim="adamw_torch_fused", max_length=256)
        trainer = GKDTrainer(model=decoder(arguments.layers, dtype), teacher_model=decoder(30, dtype), args=config,
                             train_dataset=data, data_collator=collate, processing_class=tokenizer,
                             callbacks=[clock])
        trainer.train()
    tokens = sum(lengths) / arguments.steps * (arguments.steps - 2)  # the order is drawn; the mean is what it is
    speed = tokens / (clock.end - clock.begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if arguments.json:
        print(json.dumps({"name": f"TRL GKDTrainer, off-policy, {arguments.weights}", "tokens_per_s": round(speed, 1),
                          "peak_rss_bytes": peak}))
    else:
        print(f"TRL, {arguments.weights}: {speed:.0f} tokens/s, peak {peak * 1e-9:.2f} GB")


if __name__ == "__main__":
    main()
