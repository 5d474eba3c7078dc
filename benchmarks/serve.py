#!/usr/bin/env python3
"""`retort serve` with 32 streams beside llama.cpp's llama-batched-bench: same F16 file, lengths and threads, by turns.

Ours is what clients see: HTTP, sampling from the whole vocabulary, text and events included. The peer draws nothing and
tells nobody. Each prompt is random token ids, so that none shares a beginning with another."""

import argparse
import http.client
import json
import pathlib
import random
import resource
import selectors
import socket
import statistics
import subprocess
import time

AIM = 0.9


def cpu_seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Server:
    def __init__(self, program, model, streams, context, threads):
        self.process = subprocess.Popen([program, "serve", model, "--port", "0", "--parallel", str(streams), "--ctx-size",
                                         str(context), "--threads", str(threads), "--name", "m"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        while self.get("/health").status != 200:
            time.sleep(0.1)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def round(self, streams, prompt, answer):
        """Seconds until all streams are done. One thread reads them all, so as to take little of the machine."""
        selector = selectors.DefaultSelector()
        start = time.monotonic()
        for _ in range(streams):
            body = json.dumps({"model": "m", "prompt": [random.randrange(1000, 40000) for _ in range(prompt)],
                               "max_tokens": answer, "ignore_eos": True, "stream": True,
                               "stream_options": {"include_usage": True}}).encode()
            connection = socket.create_connection(("127.0.0.1", self.port))
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            selector.register(connection, selectors.EVENT_READ, bytearray())
        while selector.get_map():
            for key, _ in selector.select():
                heard = key.data
                piece = key.fileobj.recv(1 << 16)
                assert piece, f"the server closed a stream: {bytes(heard[-500:])}"
                heard += piece
                if heard.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
                    assert b'"completion_tokens":%d,' % answer in heard, heard[-500:]
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
        return time.monotonic() - start

    def end(self):
        self.process.terminate()
        self.process.wait()


def peer_round(program, model, streams, prompt, answer, threads):
    command = [program, "-m", model, "-c", str(max(1024, streams * (prompt + answer + 8))), "-b", "2048", "-ub", "512", "-npp", str(prompt),
               "-ntg", str(answer), "-npl", str(streams), "-t", str(threads), "-tb", str(threads), "-fa", "on",
               "--output-format", "jsonl"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    row = json.loads([line for line in result.stdout.splitlines() if line.startswith("{")][-1])
    return row["t_pp"] + row["t_tg"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--convert", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--type", default="F16")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--answer", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out)
    model = str(out / f"serve.{arguments.type}.gguf")
    subprocess.run([arguments.convert, arguments.model, arguments.type, model], check=True)

    lengths = (arguments.streams, arguments.prompt, arguments.answer)
    tokens = arguments.streams * arguments.answer
    server = Server(arguments.program, model, arguments.streams, 2 * (arguments.prompt + arguments.answer), arguments.threads)
    try:
        # What the peer spends on loading alone is no part of a round.
        before = cpu_seconds_of_children()
        peer_round(arguments.peer, model, 1, 1, 1, arguments.threads)
        loading = cpu_seconds_of_children() - before
        rounds = []
        for _ in range(arguments.rounds):
            before = server.cpu_seconds()
            ours_s = server.round(*lengths)
            ours_cpu_s = server.cpu_seconds() - before
            before = cpu_seconds_of_children()
            peer_s = peer_round(arguments.peer, model, *lengths, arguments.threads)
            rounds.append({"ours_s": ours_s, "peer_s": peer_s, "ours_cpu_s": ours_cpu_s,
                           "peer_cpu_s": cpu_seconds_of_children() - before - loading})
    finally:
        server.end()

    middle = {key: statistics.median(row[key] for row in rounds) for key in rounds[0]}
    share = middle["peer_s"] / middle["ours_s"]
    cpu_share = middle["peer_cpu_s"] / middle["ours_cpu_s"]
    (out / "serve.json").write_text(json.dumps({"lengths": lengths, "type": arguments.type, "threads": arguments.threads,
                                                "rounds": rounds, "share": share, "cpu_share": cpu_share}, indent=1),
                                    encoding="utf-8")
    print(f"{arguments.streams} streams, {arguments.prompt} tokens read and {arguments.answer} sampled each, {arguments.type}, "
          f"{arguments.threads} threads, medians of {arguments.rounds} rounds by turns")
    print(f"  retort serve           {tokens / middle['ours_s']:8.1f} tok/s   ({middle['ours_cpu_s']:.1f} s of processor)")
    print(f"  llama-batched-bench    {tokens / middle['peer_s']:8.1f} tok/s   ({middle['peer_cpu_s']:.1f} s of processor)")
    print(f"  share                  {share:8.2f} (aim {AIM}); by processor time {cpu_share:.2f}")


if __name__ == "__main__":
    main()
