#!/usr/bin/env python3
"""Generation in the training process beside llama.cpp's llama-batched-bench: the same F16 weights, batch and lengths."""

import argparse
import json
import pathlib
import subprocess

from collect import peer_speed

AIM = 0.8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    command = [arguments.program, arguments.model, str(pathlib.Path(arguments.out) / "rollouts")]
    ours = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    peer = peer_speed(arguments.peer, {"path": ours["path"], "parallel": ours["parallel"], "threads": arguments.threads,
                                       "mean_prompt_tokens": ours["prompt_tokens"],
                                       "mean_sampled_tokens": ours["sampled_tokens"]})
    share = ours["tokens_per_s"] / peer["tokens_per_s"]
    path = pathlib.Path(arguments.out) / "rollouts.json"
    path.write_text(json.dumps({"ours": ours, "peer": peer, "share": share}, indent=1), encoding="utf-8")
    print(f"{ours['parallel']} sequences at once, {ours['prompt_tokens']} tokens read and {ours['sampled_tokens']} sampled "
          f"each, {arguments.threads} threads")
    print(f"  ours ({ours['compute_type']})        {ours['tokens_per_s']:8.1f} tok/s")
    print(f"  llama-batched-bench    {peer['tokens_per_s']:8.1f} tok/s with prompts, "
          f"{peer['generation_tokens_per_s']:.1f} generating alone (F16)")
    print(f"  share                  {share:8.2f} (aim {AIM})")


if __name__ == "__main__":
    main()
