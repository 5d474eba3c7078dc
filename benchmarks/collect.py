#!/usr/bin/env python3
"""Our collection beside llama.cpp's llama-batched-bench: same file, same batch, same mean lengths, one after the other."""

import argparse
import json
import pathlib
import subprocess
import sys

AIM = 0.85


def peer_speed(program, ours):
    """Tokens/s of the peer: generating alone, and with reading the prompts."""
    prompt, sampled = (max(1, round(ours[key])) for key in ("mean_prompt_tokens", "mean_sampled_tokens"))
    parallel, threads = ours["parallel"], str(ours["threads"])
    context = parallel * (prompt + sampled + 8)
    command = [program, "-m", ours["path"], "-c", str(context), "-b", "2048", "-ub", "512", "-npp", str(prompt),
               "-ntg", str(sampled), "-npl", str(parallel), "-t", threads, "-tb", threads, "-fa", "on",
               "--output-format", "jsonl"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if result.returncode or not rows:
        sys.exit(f"the peer failed ({result.returncode}): {result.stderr[-2000:]}")
    row = rows[-1]
    return {"prompt_tokens": prompt, "sampled_tokens": sampled, "generation_tokens_per_s": row["speed_tg"],
            "tokens_per_s": parallel * sampled / (row["t_pp"] + row["t_tg"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", default="256")
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out)

    result = subprocess.run([arguments.program, arguments.model, str(out / "collect"), arguments.count],
                            stdout=subprocess.PIPE, text=True, check=True)
    ours = json.loads(result.stdout)
    peer = peer_speed(arguments.peer, ours)
    shares = {name: ours["full"]["tokens_per_s"] / peer[name] for name in ("generation_tokens_per_s", "tokens_per_s")}
    (out / "collect.json").write_text(json.dumps({"ours": ours, "peer": peer, "shares": shares}, indent=1), encoding="utf-8")

    print("types: " + ", ".join(f"{row['type']} {row['tokens_per_s']:.0f} tok/s" for row in ours["types"]))
    print(f"{ours['exchanges']} exchanges, {ours['parallel']} sequences at once, {ours['threads']} threads, "
          f"{peer['prompt_tokens']} tokens read and {peer['sampled_tokens']} sampled a sequence")
    print(f"  ours, batch full       {ours['full']['tokens_per_s']:8.1f} tok/s   ({ours['full']['seconds']:.1f} s)")
    print(f"  ours, draining tail    {ours['tail']['tokens_per_s']:8.1f} tok/s   ({ours['tail']['seconds']:.1f} s)")
    print(f"  llama-batched-bench    {peer['tokens_per_s']:8.1f} tok/s with prompts, "
          f"{peer['generation_tokens_per_s']:.1f} generating alone")
    print(f"  share                  {shares['tokens_per_s']:8.2f} with prompts (aim {AIM}), "
          f"{shares['generation_tokens_per_s']:.2f} of generating alone")


if __name__ == "__main__":
    main()
