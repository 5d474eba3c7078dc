"""aiohttp asking for so many answers, each written to a JSON line: URL REQUESTS CONCURRENCY OUT.jsonl."""
import asyncio
import json
import resource
import sys
import time

import aiohttp

url, requests, concurrency, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


async def main():
    numbers = iter(range(requests))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": "Bearer key"}) as session:
        with open(path, "w", encoding="utf-8") as out:
            async def worker():
                for number in numbers:
                    body = {"model": "bench", "messages": [{"role": "user", "content": f"question {number}"}],
                            "max_tokens": 256, "temperature": 0.8, "top_p": 0.95, "seed": number}
                    async with session.post(f"{url}/chat/completions", json=body) as response:
                        answer = await response.json()
                    out.write(json.dumps({"question": number, "text": answer["choices"][0]["message"]["content"]}) + "\n")
            await asyncio.gather(*(worker() for _ in range(concurrency)))


started = time.monotonic()
before = resource.getrusage(resource.RUSAGE_SELF)
asyncio.run(main())
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": time.monotonic() - started,
                  "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}))
