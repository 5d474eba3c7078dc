#!/usr/bin/env python3
"""Asking a model API: our client beside the `openai` package and aiohttp, requests per CPU second of the client's process.

A server on loopback answers at once with 1 KB (api_server.cc). `retort collect` keeps each answer in its store with a
ledger; our bare client and the Python peers write JSON lines. By turns in one run; medians."""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def retort_collect(program, url, requests, concurrency):
    """Requests per CPU second of a whole `retort collect`, its start subtracted by a run that finds everything there."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with open(folder / "prompts.txt", "w", encoding="utf-8") as out:
            out.writelines(f"question {i}\n" for i in range(requests))
        (folder / "recipe.yaml").write_text(
            f"name: bench\nteacher: {{api: openai, endpoints: [{{url: '{url}'}}], model: SmolLM2-135M-Instruct, route: own}}\n"
            f"collect: {{prompts: {{file: prompts.txt, format: lines}}, count: 0, max_tokens: 256, concurrency: {concurrency}}}\n")
        environment = {**os.environ, "RETORT_CACHE": str(folder / "cache")}
        spent = []
        for _ in range(2):
            before = children_cpu()
            done = subprocess.run([program, "collect", "recipe.yaml", "--json"], cwd=folder, env=environment,
                                  capture_output=True, check=True)
            spent.append(children_cpu() - before)
        told = json.loads(done.stdout)
        assert told["complete"] and told["committed"] == requests, told
        return requests / (spent[0] - spent[1]), spent[1]


def other(command, requests):
    out = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return requests / out["cpu_seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--openai-site", required=True)
    parser.add_argument("--aiohttp-site", required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    binaries = pathlib.Path(options.build).resolve() / "bin"
    with subprocess.Popen([binaries / "api_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        rates = {name: [] for name in ("retort collect (store and ledger)", "our client, JSON lines", "openai", "aiohttp")}
        starts = []
        many, few = 30000, 2000
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as name:
                out = str(pathlib.Path(name) / "out.jsonl")
                rate, start = retort_collect(binaries / "retort", url, many, options.concurrency)
                rates["retort collect (store and ledger)"].append(rate)
                starts.append(start)
                rates["our client, JSON lines"].append(
                    other([binaries / "api_client_bench", url, str(many), str(options.concurrency), out], many))
                for peer, site in (("openai", options.openai_site), ("aiohttp", options.aiohttp_site)):
                    rates[peer].append(other(
                        ["env", f"PYTHONPATH={site}", sys.executable, "-B", HERE / "peers" / "api_peer.py", peer, url, str(few),
                         str(options.concurrency), out], few))
        server.stdin.close()
    median = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        print(f"{name:36} {median[name]:9,.0f} requests per CPU second   ({', '.join(f'{v:,.0f}' for v in values)})")
    ours, bare = median["retort collect (store and ledger)"], median["our client, JSON lines"]
    print(f"with the store: {ours / median['openai']:.1f}x openai (aim 20), {ours / median['aiohttp']:.1f}x aiohttp (aim 6); "
          f"without it {bare / median['aiohttp']:.1f}x aiohttp (aim 10)")
    print(f"start and resume of {many:,} answers: {statistics.median(starts):.2f} CPU seconds, subtracted above")


main()
