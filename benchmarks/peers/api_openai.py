"""The `openai` package asking for so many answers, each written to a JSON line: URL REQUESTS CONCURRENCY OUT.jsonl."""
import asyncio
import json
import resource
import sys
import time

import openai

url, requests, concurrency, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


async def main():
    client = openai.AsyncOpenAI(base_url=url, api_key="key")
    numbers = iter(range(requests))
    with open(path, "w", encoding="utf-8") as out:
        async def worker():
            for number in numbers:
                answer = await client.chat.completions.create(
                    model="bench", messages=[{"role": "user", "content": f"question {number}"}], max_tokens=256,
                    temperature=0.8, top_p=0.95, seed=number)
                out.write(json.dumps({"question": number, "text": answer.choices[0].message.content}) + "\n")
        await asyncio.gather(*(worker() for _ in range(concurrency)))


started = time.monotonic()
before = resource.getrusage(resource.RUSAGE_SELF)
asyncio.run(main())
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": time.monotonic() - started,
                  "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}))
