#!/usr/bin/env python3
"""The rival of `retort bench train`: the same training as a careful person writes it by hand in PyTorch.

Packed rows, block-diagonal attention through scaled_dot_product_attention, bf16 weights with fp32 masters, fused AdamW,
no gradients through the teacher, and the head with the forward-KL gradient computed together in chunks of rows, so that
(tokens, vocabulary) never exists. Shapes and sizes are those of src/train/measure.cc.
"""
import argparse
import json
import random
import resource
import time

import torch
import torch.nn.functional as F

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INTERMEDIATE, VOCABULARY, LENGTH = 576, 9, 3, 64, 1536, 49152, 256


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm = torch.nn.Parameter(torch.ones(HIDDEN))
        self.qkv = torch.nn.Linear(HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD_DIM, bias=False)
        self.out = torch.nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)
        self.ffn_norm = torch.nn.Parameter(torch.ones(HIDDEN))
        self.gate_up = torch.nn.Linear(HIDDEN, 2 * INTERMEDIATE, bias=False)
        self.down = torch.nn.Linear(INTERMEDIATE, HIDDEN, bias=False)

    def forward(self, x, cos, sin, mask):
        rows, length, _ = x.shape
        q, k, v = self.qkv(F.rms_norm(x, (HIDDEN,), self.attention_norm, 1e-5)).split(
            [HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM], dim=-1
        )
        q = rotate(q.view(rows, length, HEADS, HEAD_DIM).transpose(1, 2), cos, sin)
        k = rotate(k.view(rows, length, KV_HEADS, HEAD_DIM).transpose(1, 2), cos, sin)
        v = v.view(rows, length, KV_HEADS, HEAD_DIM).transpose(1, 2)
        k = k.repeat_interleave(HEADS // KV_HEADS, dim=1)
        v = v.repeat_interleave(HEADS // KV_HEADS, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(rows, length, HEADS * HEAD_DIM))
        gate, up = self.gate_up(F.rms_norm(x, (HIDDEN,), self.ffn_norm, 1e-5)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(layers))
        self.norm = torch.nn.Parameter(torch.ones(HIDDEN))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.04)

    def forward(self, ids, cos, sin, mask):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        return F.rms_norm(x, (HIDDEN,), self.norm, 1e-5)


class HeadAndLoss(torch.autograd.Function):
    """Forward KL in nats per token; the gradient is made in the same pass, a chunk of rows at a time."""

    @staticmethod
    def forward(ctx, hidden, weight, teacher_hidden, teacher_weight, chunk):
        rows = hidden.shape[0]
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        loss = 0.0
        for begin in range(0, rows, chunk):
            part = slice(begin, begin + chunk)
            student = torch.log_softmax((hidden[part] @ weight.t()).float(), dim=-1)
            teacher = torch.log_softmax((teacher_hidden[part] @ teacher_weight.t()).float(), dim=-1)
            p = teacher.exp()
            loss += (p * teacher.sub_(student)).sum()
            gradient = student.exp_().sub_(p).div_(rows).to(hidden.dtype)
            hidden_gradient[part] = gradient @ weight
            weight_gradient += gradient.t() @ hidden[part]
        ctx.save_for_backward(hidden_gradient, weight_gradient.to(weight.dtype))
        return loss / rows

    @staticmethod
    def backward(ctx, scale):
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient, weight_gradient, None, None, None


def packed_rows(rows):
    """Documents of 64 to 256 tokens, first fit; returns ids, positions, documents and how many tokens are real."""
    ids = torch.zeros(rows, LENGTH, dtype=torch.long)
    positions = torch.zeros(rows, LENGTH, dtype=torch.long)
    documents = torch.full((rows, LENGTH), -1)
    used = [0] * rows
    for number in range(1000 * rows):
        length = random.randint(64, 256)
        row = next((r for r in range(rows) if LENGTH - used[r] >= length), None)
        if row is None:
            if all(LENGTH - u < 64 for u in used):
                break
            continue
        part = slice(used[row], used[row] + length)
        ids[row, part] = torch.randint(VOCABULARY, (length,))
        positions[row, part] = torch.arange(length)
        documents[row, part] = number
        used[row] += length
    return ids, positions, documents, sum(used)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--tokens-per-step", type=int, default=1024)
    parser.add_argument("--compute", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--name", default="")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    random.seed(1)
    dtype = torch.bfloat16 if arguments.compute == "bf16" else torch.float32

    teacher = Decoder(30).to(dtype).requires_grad_(False).eval()
    student = Decoder(arguments.layers)
    masters = [p.detach().clone().float() for p in student.parameters()]
    student.to(dtype)
    decayed = [m for m in masters if m.dim() > 1]
    others = [m for m in masters if m.dim() == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=1e-4, betas=(0.9, 0.95), fused=True,
    )
    frequencies = 100000.0 ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)

    tokens, begin = 0, 0.0
    for step in range(arguments.steps):
        if step == 2:
            begin = time.monotonic()
        ids, positions, documents, used = packed_rows(arguments.tokens_per_step // LENGTH)
        angles = positions[:, None, :, None] * frequencies
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
        same = documents[:, None, :, None] == documents[:, None, None, :]
        mask = torch.zeros(same.shape, dtype=dtype).masked_fill_(~(same & causal), float("-inf"))
        supervised = (documents == torch.cat((documents[:, 1:], documents.new_full((len(ids), 1), -2)), 1)) & (documents >= 0)

        with torch.no_grad():
            target = teacher(ids, cos, sin, mask)[supervised]
        hidden = student(ids, cos, sin, mask)[supervised]
        loss = HeadAndLoss.apply(hidden, student.embedding.weight, target, teacher.embedding.weight, arguments.chunk)
        loss.backward()
        with torch.no_grad():
            for master, parameter in zip(masters, student.parameters()):
                master.grad = parameter.grad.float()
                parameter.grad = None
            torch.nn.utils.clip_grad_norm_(masters, 1.0)
            optimiser.step()
            for master, parameter in zip(masters, student.parameters()):
                parameter.copy_(master)
                master.grad = None
        assert torch.isfinite(loss)
        if step >= 2:
            tokens += used
    elapsed = time.monotonic() - begin
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "name": arguments.name or "PyTorch " + torch.__version__,
        "compute": arguments.compute,
        "layers": arguments.layers,
        "tokens_per_s": round(tokens / elapsed, 1),
        "peak_rss_bytes": usage.ru_maxrss * 1024,
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['name']}, {arguments.compute}, {arguments.layers} of 30 layers: "
            f"{result['tokens_per_s']:.0f} tokens/s, peak {usage.ru_maxrss * 1024e-9:.2f} GB"
        )
        total = sum(p for p in (usage.ru_utime, usage.ru_stime))
        print(f"  processor s in all: user {usage.ru_utime:.1f}, system {usage.ru_stime:.1f}, both {total:.1f}")


if __name__ == "__main__":
    main()
