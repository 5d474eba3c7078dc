#!/usr/bin/env python3
"""What TRL's GKDTrainer makes of the exchanges and the start that `retort` has, and how far students are from their teacher.

  trl_quality.py train --teacher FOLDER --student FOLDER --examples FILE --steps N --out FOLDER
  trl_quality.py measure --teacher FOLDER --examples FILE STUDENT...

Folders are Hugging Face checkpoints; a line of FILE is {"ids", "supervised"}, as ../quality.py writes them. Training is one
pass of off-policy forward KL over the supervised tokens, with the optimiser, schedule and frozen embedding of the recipe;
FP32 weights under BF16 autocast. Measured is the mean of KL(teacher || student) over supervised tokens, FP32 in PyTorch,
for everybody alike.
"""
import argparse
import json
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from transformers import LlamaForCausalLM


def examples_of(path, max_length):
    """Cut as packing cuts them; those with nothing to learn left out."""
    for line in open(path, encoding="utf-8"):
        example = json.loads(line)
        ids, supervised = example["ids"][:max_length], example["supervised"][:max_length]
        if any(supervised[1:]):
            yield ids, supervised


def collate(rows):
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        count = len(row["ids"])
        ids[i, :count] = torch.tensor(row["ids"])
        mask[i, :count] = 1
        wanted = torch.tensor(row["supervised"], dtype=torch.bool)
        labels[i, :count][wanted] = ids[i, :count][wanted]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def train(arguments):
    import pyarrow
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    rows = [{"ids": ids, "supervised": supervised} for ids, supervised in examples_of(arguments.examples, arguments.max_length)]
    tokens = sum(len(row["ids"]) for row in rows)
    sequences = max(1, round(len(rows) / arguments.steps))
    data = Dataset(InMemoryTable(pyarrow.Table.from_pylist(rows)), fingerprint="rows")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[pad]": 0, "[end]": 1}, unk_token="[pad]")),
                                        pad_token="[pad]", eos_token="[end]")
    student = LlamaForCausalLM.from_pretrained(arguments.student, dtype=torch.float32)
    student.get_input_embeddings().weight.requires_grad_(False)
    config = GKDConfig(output_dir=arguments.out, per_device_train_batch_size=sequences, num_train_epochs=1,
                       learning_rate=arguments.learning_rate, lr_scheduler_type="cosine",
                       warmup_steps=round(0.05 * len(rows) / sequences), weight_decay=0.01, adam_beta2=0.95,
                       max_grad_norm=1.0, lmbda=0.0, beta=0.0, temperature=1.0, use_cpu=True, bf16=True,
                       gradient_checkpointing=False, save_strategy="no", report_to=[], logging_steps=1000,
                       disable_tqdm=True, dataloader_num_workers=0, optim="adamw_torch_fused",
                       max_length=arguments.max_length, seed=arguments.seed)
    trainer = GKDTrainer(model=student, teacher_model=LlamaForCausalLM.from_pretrained(arguments.teacher, dtype=torch.float32),
                         args=config, train_dataset=data, data_collator=collate, processing_class=tokenizer)
    begin = time.monotonic()
    trainer.train()
    student.save_pretrained(arguments.out)
    print(json.dumps({"tokens": tokens, "steps": trainer.state.global_step, "seconds": round(time.monotonic() - begin, 1)}))


def measure(arguments):
    torch.set_grad_enabled(False)
    examples = list(examples_of(arguments.examples, arguments.max_length))
    teacher = LlamaForCausalLM.from_pretrained(arguments.teacher, dtype=torch.float32)

    def log_probabilities(model, ids, places):
        return torch.log_softmax(model(torch.tensor([ids])).logits[0][places], dim=-1)

    for folder in arguments.students:
        student = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        total = agreed = count = 0
        for ids, supervised in examples:
            places = [i for i in range(len(ids) - 1) if supervised[i + 1]]
            p, q = log_probabilities(teacher, ids, places), log_probabilities(student, ids, places)
            total += (p.exp() * (p - q)).sum().item()
            agreed += (p.argmax(1) == q.argmax(1)).sum().item()
            count += len(places)
        print(json.dumps({"student": folder, "kl_nats": round(total / count, 4), "agreement": round(agreed / count, 4),
                          "tokens": count}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, verb in (("train", train), ("measure", measure)):
        own = verbs.add_parser(name)
        own.set_defaults(verb=verb)
        own.add_argument("--teacher", required=True)
        own.add_argument("--examples", required=True)
        own.add_argument("--max-length", type=int, default=256)
        if name == "train":
            own.add_argument("--student", required=True)
            own.add_argument("--out", required=True)
            own.add_argument("--steps", type=int, required=True, help="about so many: whole exchanges make a step")
            own.add_argument("--seed", type=int, default=1, help="of the order")
            own.add_argument("--learning-rate", type=float, default=8e-4)
        else:
            own.add_argument("students", nargs="+")
    arguments = parser.parse_args()
    arguments.verb(arguments)


if __name__ == "__main__":
    sys.exit(main())
