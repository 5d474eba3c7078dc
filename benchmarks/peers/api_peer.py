"""A Python client asking for so many answers, each written to a JSON line; seconds and CPU seconds as JSON.

    api_peer.py openai|aiohttp URL REQUESTS CONCURRENCY OUT.jsonl
"""
import asyncio
import json
import resource
import sys
import time

peer, url, requests, concurrency, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]


def request(number):
    return {"model": "bench", "messages": [{"role": "user", "content": f"question {number}"}], "max_tokens": 256,
            "temperature": 0.8, "top_p": 0.95, "seed": number}


async def ask_all(ask):
    """`ask(number)` gives the answer's text; so many at a time."""
    numbers = iter(range(requests))
    with open(path, "w", encoding="utf-8") as out:
        async def worker():
            for number in numbers:
                out.write(json.dumps({"question": number, "text": await ask(number)}) + "\n")
        await asyncio.gather(*(worker() for _ in range(concurrency)))


async def with_openai():
    import openai
    client = openai.AsyncOpenAI(base_url=url, api_key="key")

    async def ask(number):
        return (await client.chat.completions.create(**request(number))).choices[0].message.content
    return await measured(ask)


async def with_aiohttp():
    import aiohttp
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": "Bearer key"}) as session:
        async def ask(number):
            async with session.post(f"{url}/chat/completions", json=request(number)) as response:
                return (await response.json())["choices"][0]["message"]["content"]
        return await measured(ask)


async def measured(ask):
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    await ask_all(ask)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": time.monotonic() - started,
            "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


print(json.dumps(asyncio.run({"openai": with_openai, "aiohttp": with_aiohttp}[peer]())))
