#!/usr/bin/env python3
"""The rival of `retort bench train`: the same training as a careful person writes it by hand in PyTorch.

Packed rows, bf16 weights with fp32 masters, fused AdamW, no gradients through the teacher, and the head with the
forward-KL gradient computed together in chunks of rows, so that (tokens, vocabulary) never exists. Attention keeps
documents apart by a block mask through scaled_dot_product_attention; on a GPU also as one stream without padding, by
varlen_attn, or as a padded row a document. Shapes and sizes are those of src/train/measure.cc (train_shapes.py).

On a GPU nothing in the timed part waits for the device: batches are made and brought there before, losses are looked at
after.
"""
import argparse
import dataclasses
import json
import random
import resource
import time

import torch
import torch.nn.functional as F

from train_shapes import SHAPES


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def varlen(q, k, v, starts, longest):
    """Causal attention within each document of a stream; (tokens, heads, head_dim) each."""
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn(q, k, v, starts, starts, longest, longest, window_size=(-1, 0))


class Block(torch.nn.Module):
    """(rows, length, hidden), or (tokens, hidden) with `attention` varlen; `where` is the mask, or where documents start."""

    def __init__(self, config, attention, longest, grouped):
        super().__init__()
        # Plain numbers here rather than `config`, so that torch.compile takes them for constants.
        self.hidden, self.heads, self.kv_heads, self.head_dim = config.hidden, config.heads, config.kv_heads, config.head_dim
        self.attention, self.longest = attention, longest
        self.copies = 1 if grouped else config.heads // config.kv_heads
        self.attention_norm = torch.nn.Parameter(torch.ones(config.hidden))
        self.qkv = torch.nn.Linear(config.hidden, (config.heads + 2 * config.kv_heads) * config.head_dim, bias=False)
        self.out = torch.nn.Linear(config.heads * config.head_dim, config.hidden, bias=False)
        self.ffn_norm = torch.nn.Parameter(torch.ones(config.hidden))
        self.gate_up = torch.nn.Linear(config.hidden, 2 * config.intermediate, bias=False)
        self.down = torch.nn.Linear(config.intermediate, config.hidden, bias=False)

    def split_heads(self, x, heads):
        x = x.unflatten(-1, (heads, self.head_dim))
        return x if self.attention == "varlen" else x.transpose(1, 2)

    def attend(self, q, k, v, cos, sin, where):
        q = rotate(self.split_heads(q, self.heads), cos, sin)
        k = rotate(self.split_heads(k, self.kv_heads), cos, sin)
        v = self.split_heads(v, self.kv_heads)
        if self.copies > 1:
            k = k.repeat_interleave(self.copies, dim=1)
            v = v.repeat_interleave(self.copies, dim=1)
        if self.attention == "varlen":
            return varlen(q, k, v, where, self.longest).flatten(1)
        if self.attention == "mask":
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=where)
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.copies == 1)
        return y.transpose(1, 2).flatten(2)

    def forward(self, x, cos, sin, where):
        q, k, v = self.qkv(F.rms_norm(x, (self.hidden,), self.attention_norm, 1e-5)).split(
            [self.heads * self.head_dim, self.kv_heads * self.head_dim, self.kv_heads * self.head_dim], dim=-1
        )
        x = x + self.out(self.attend(q, k, v, cos, sin, where))
        gate, up = self.gate_up(F.rms_norm(x, (self.hidden,), self.ffn_norm, 1e-5)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(torch.nn.Module):
    def __init__(self, config, spread, *block_arguments):
        super().__init__()
        self.hidden = config.hidden
        self.embedding = torch.nn.Embedding(config.vocabulary, config.hidden)
        self.blocks = torch.nn.ModuleList(Block(config, *block_arguments) for _ in range(config.layers))
        self.norm = torch.nn.Parameter(torch.ones(config.hidden))
        self.head = None if config.tied else torch.nn.Linear(config.hidden, config.vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=spread)

    def head_weight(self):
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(self, ids, cos, sin, where):
        """What the head takes: (tokens, hidden), padding among them."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, cos, sin, where)
        return F.rms_norm(x, (self.hidden,), self.norm, 1e-5).view(-1, self.hidden)


def make_decoder(dtype, device, *arguments):
    """Random weights, made where and as they are used: an 8B teacher in fp32 would not fit beside anything."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return Decoder(*arguments)
    finally:
        torch.set_default_dtype(usual)


def loss_and_gradient(student_logits, teacher_logits, rows):
    """The sum of forward KL over the rows given, and the gradient of the student's logits of the mean over `rows`."""
    student = torch.log_softmax(student_logits.float(), dim=-1)
    teacher = torch.log_softmax(teacher_logits.float(), dim=-1)
    p = teacher.exp()
    loss = (p * teacher.sub_(student)).sum()
    return loss, student.exp_().sub_(p).div_(rows).to(student_logits.dtype)


class HeadAndLoss(torch.autograd.Function):
    """Forward KL in nats per token; the gradient is made in the same pass, a chunk of rows at a time."""

    @staticmethod
    def forward(ctx, hidden, weight, teacher_hidden, teacher_weight, chunk, objective):
        rows = hidden.shape[0]
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        loss = 0.0
        for begin in range(0, rows, chunk):
            part = slice(begin, begin + chunk)
            part_loss, gradient = objective(hidden[part] @ weight.t(), teacher_hidden[part] @ teacher_weight.t(), rows)
            loss += part_loss
            hidden_gradient[part] = gradient @ weight
            weight_gradient += gradient.t() @ hidden[part]
        ctx.save_for_backward(hidden_gradient, weight_gradient.to(weight.dtype))
        return loss / rows

    @staticmethod
    def backward(ctx, scale):
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient, weight_gradient, None, None, None, None


def packed_rows(shape, rows):
    """Documents of `shortest` to `length` tokens, first fit; returns ids, positions and documents (-1: padding)."""
    ids = torch.zeros(rows, shape.length, dtype=torch.long)
    positions = torch.zeros(rows, shape.length, dtype=torch.long)
    documents = torch.full((rows, shape.length), -1)
    used = [0] * rows
    for number in range(1000 * rows):
        length = random.randint(shape.shortest, shape.length)
        row = next((r for r in range(rows) if shape.length - used[r] >= length), None)
        if row is None:
            if all(shape.length - u < shape.shortest for u in used):
                break
            continue
        part = slice(used[row], used[row] + length)
        ids[row, part] = torch.randint(shape.student.vocabulary, (length,))
        positions[row, part] = torch.arange(length)
        documents[row, part] = number
        used[row] += length
    return ids, positions, documents


def one_stream(ids, positions, documents):
    """The same documents one after the other, without padding: (tokens) each."""
    real = documents >= 0
    return ids[real], positions[real], documents[real]


def one_row_each(ids, positions, documents):
    """The same documents in a row each, padded to the longest."""
    pieces = [documents == number for number in documents.unique().tolist() if number >= 0]
    ids, positions, documents = (
        torch.nn.utils.rnn.pad_sequence([x[piece] for piece in pieces], batch_first=True, padding_value=padding)
        for x, padding in ((ids, 0), (positions, 0), (documents, -1))
    )
    return ids, positions, documents


@dataclasses.dataclass
class Batch:
    ids: torch.Tensor
    documents: torch.Tensor
    teacher_angles: tuple  # cosines and sines, broadcast over heads
    student_angles: tuple
    starts: torch.Tensor  # of documents in a stream, and its end
    supervised: torch.Tensor  # numbers of tokens that are followed by another of their document
    tokens: int


def angle_tables(config, length, dtype, device):
    frequencies = config.rope_theta ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
    angles = torch.arange(length)[:, None] * frequencies
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def make_batch(shape, rows, attention, tables, device):
    ids, positions, documents = packed_rows(shape, rows)
    if attention == "varlen":
        ids, positions, documents = one_stream(ids, positions, documents)
    if attention == "padded":
        ids, positions, documents = one_row_each(ids, positions, documents)
    following = torch.cat((documents[..., 1:], torch.full_like(documents[..., :1], -2)), -1)
    supervised = ((documents == following) & (documents >= 0)).flatten().nonzero().flatten()
    starts = torch.cat(((positions.flatten() == 0).nonzero().flatten(), torch.tensor([positions.numel()])))
    positions = positions.to(device)
    over_heads = -2 if attention == "varlen" else -3
    angles = [tuple(table[positions].unsqueeze(over_heads) for table in pair) for pair in tables]
    return Batch(ids.to(device), documents.to(device), *angles, starts.to(device, torch.int32), supervised.to(device),
                 int((documents >= 0).sum()))


def block_mask(documents, dtype):
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same = documents[:, None, :, None] == documents[:, None, None, :]
    return torch.zeros(same.shape, dtype=dtype, device=documents.device).masked_fill_(~(same & causal), float("-inf"))


def varlen_groups_heads(config, dtype):
    """Whether varlen_attn here takes fewer heads of keys than of queries, and to the right gradient."""
    torch.manual_seed(2)
    q, k, v = (torch.randn(96, heads, config.head_dim, device="cuda", dtype=dtype, requires_grad=True)
               for heads in (config.heads, config.kv_heads, config.kv_heads))
    starts = torch.tensor([0, 40, 96], device="cuda", dtype=torch.int32)
    copies = config.heads // config.kv_heads
    repeated = varlen(q, k.repeat_interleave(copies, 1), v.repeat_interleave(copies, 1), starts, 56)
    expected = torch.autograd.grad(repeated.float().square().sum(), (q, k, v))
    try:
        grouped = varlen(q, k, v, starts, 56)
        made = torch.autograd.grad(grouped.float().square().sum(), (q, k, v))
    except RuntimeError:
        return False
    return all(a.shape == b.shape and torch.nn.functional.cosine_similarity(a.flatten().float(), b.flatten().float(), 0) > 0.999
               for a, b in zip((grouped, *made), (repeated, *expected)))


def masters_take(masters, parameters):
    """The gradients, in fp32, from the parameters to their masters."""
    if masters[0].is_cuda:
        for master in masters:
            master.grad = torch.empty_like(master)
        torch._foreach_copy_([m.grad for m in masters], [p.grad for p in parameters])
        for parameter in parameters:
            parameter.grad = None
        return
    for master, parameter in zip(masters, parameters):
        master.grad = parameter.grad.float()
        parameter.grad = None


def masters_give(masters, parameters):
    torch._foreach_copy_(parameters, masters)
    for master in masters:
        master.grad = None


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="135m")
    parser.add_argument("--layers", type=int, help="of the student (10 of 135m, 16 of 8b)")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warm-up", type=int, help="of the steps, not timed (2, compiled 4)")
    parser.add_argument("--tokens-per-step", type=int, help="padding included (1024 of 135m, 8192 of 8b)")
    parser.add_argument("--compute", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--attention", choices=["mask", "varlen", "padded"], default="mask")
    parser.add_argument("--chunk", type=int, help="rows of the head at a time (256, on a GPU 2048); 0: all at once")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the blocks and of the loss")
    parser.add_argument("--name", default="")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.attention == "varlen" and (arguments.device == "cpu" or arguments.compute != "bf16"):
        parser.error("--attention varlen runs on a GPU only, in bf16; give --device cuda or another attention.")
    if arguments.warm_up is None:
        arguments.warm_up = 4 if arguments.compile else 2
    if arguments.steps <= arguments.warm_up:
        parser.error(f"--steps must be above {arguments.warm_up}, which are not timed.")
    if arguments.chunk is None:
        arguments.chunk = 2048 if arguments.device == "cuda" else 256
    if arguments.tokens_per_step is None:
        arguments.tokens_per_step = {"135m": 1024, "8b": 8192}[arguments.shape]
    return arguments


def name_of(arguments):
    parts = [f"PyTorch {torch.__version__}", arguments.shape, arguments.attention]
    if arguments.compile:
        parts.append("compiled")
    parts.append(f"head in chunks of {arguments.chunk} rows" if arguments.chunk else "all logits at once")
    return ", ".join(parts)


def main():
    arguments = parse_arguments()
    torch.manual_seed(1)
    random.seed(1)
    dtype = torch.bfloat16 if arguments.compute == "bf16" else torch.float32
    device = torch.device(arguments.device)
    on_gpu = arguments.device == "cuda"
    shape = SHAPES[arguments.shape].with_layers(arguments.layers)

    grouped = [False, False]
    if arguments.attention == "padded":
        grouped = [on_gpu, on_gpu]
    if arguments.attention == "varlen":
        grouped = [varlen_groups_heads(config, dtype) for config in (shape.teacher, shape.student)]
    blocks = (arguments.attention, shape.length)
    teacher = make_decoder(dtype, device, shape.teacher, shape.spread, *blocks, grouped[0]).requires_grad_(False).eval()
    student = make_decoder(torch.float32, device, shape.student, shape.spread, *blocks, grouped[1])
    masters = [p.detach().clone() for p in student.parameters()]
    student.to(dtype)
    parameters = list(student.parameters())
    decayed = [m for m in masters if m.dim() > 1]
    others = [m for m in masters if m.dim() == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=1e-4, betas=(0.9, 0.95), fused=True,
    )
    objective = loss_and_gradient
    if arguments.compile:
        torch._dynamo.config.recompile_limit = 32
        for block in (*teacher.blocks, *student.blocks):
            block.compile(dynamic=arguments.attention != "mask")
        objective = torch.compile(loss_and_gradient, dynamic=True)
    tables = [angle_tables(config, shape.length, dtype, device) for config in (shape.teacher, shape.student)]
    batches = [make_batch(shape, arguments.tokens_per_step // shape.length, arguments.attention, tables, device)
               for _ in range(arguments.steps)]

    def now():
        if on_gpu:
            torch.cuda.synchronize()
        return time.monotonic()

    losses = []
    for step, batch in enumerate(batches):
        if step == arguments.warm_up:
            begin = now()
        where = {"mask": lambda: block_mask(batch.documents, dtype), "varlen": lambda: batch.starts,
                 "padded": lambda: None}[arguments.attention]()
        with torch.no_grad():
            target = teacher(batch.ids, *batch.teacher_angles, where).index_select(0, batch.supervised)
        hidden = student(batch.ids, *batch.student_angles, where).index_select(0, batch.supervised)
        loss = HeadAndLoss.apply(hidden, student.head_weight(), target, teacher.head_weight(),
                                 arguments.chunk or len(batch.supervised), objective)
        loss.backward()
        with torch.no_grad():
            masters_take(masters, parameters)
            torch.nn.utils.clip_grad_norm_(masters, 1.0)
            optimiser.step()
            masters_give(masters, parameters)
        losses.append(loss.detach())
    elapsed = now() - begin
    assert torch.isfinite(torch.stack(losses)).all()
    tokens = sum(batch.tokens for batch in batches[arguments.warm_up:])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "name": arguments.name or name_of(arguments),
        "shape": arguments.shape,
        "compute": arguments.compute,
        "layers": shape.student.layers,
        "tokens_per_s": round(tokens / elapsed, 1),
        "tokens_per_step": round(tokens / (arguments.steps - arguments.warm_up), 1),
        "peak_rss_bytes": usage.ru_maxrss * 1024,
    }
    if on_gpu:
        result["device"] = torch.cuda.get_device_name()
        result["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    if arguments.json:
        print(json.dumps(result))
    else:
        on_device = f", on the GPU {result['peak_device_bytes'] * 1e-9:.2f} GB" if on_gpu else ""
        print(
            f"{result['name']}, {arguments.compute}, {shape.student.layers} of {shape.teacher.layers} layers: "
            f"{result['tokens_per_s']:.0f} tokens/s, peak {usage.ru_maxrss * 1024e-9:.2f} GB{on_device}"
        )
        total = sum(p for p in (usage.ru_utime, usage.ru_stime))
        print(f"  processor s in all: user {usage.ru_utime:.1f}, system {usage.ru_stime:.1f}, both {total:.1f}")


if __name__ == "__main__":
    main()
