"""The official `openai` client against `retort serve`, unchanged: what it is used for most, and its errors.

`make test` installs the client once into the cache (scripts/clients.sh, tests/system/requirements.txt)."""

import asyncio
import pathlib
import subprocess
import sys

from program import SKIPPED, SOURCE, Scenarios, make_models, scratch
from server import Server

SITE = subprocess.run([SOURCE / "scripts/clients.sh", "--path"], capture_output=True, text=True, check=True).stdout.strip()
if not (pathlib.Path(SITE) / "done").exists():
    print(f"skipped: the openai client is not in {SITE}; `make test` or scripts/clients.sh installs it")
    sys.exit(SKIPPED)
sys.path.insert(0, SITE)
import openai  # noqa: E402  (only to be had after the line above)

MESSAGES = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "hello"}]}]


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    except Exception as error:  # pylint: disable=broad-exception-caught
        print(f"expected {kind}, got {error!r}", file=sys.stderr)
    return None


def sync_client(client, checks):
    checks.check("models.list", [model.id for model in client.models.list()] == ["tiny"])
    checks.check("models.retrieve", client.models.retrieve("tiny").owned_by == "retort")

    whole = client.chat.completions.create(model="tiny", messages=MESSAGES, seed=1, max_completion_tokens=12, n=2, logprobs=True,
                                           top_logprobs=2, temperature=0.7, top_p=0.9, stop=["never said"], user="me")
    entry = whole.choices[0].logprobs.content[0]
    checks.check("chat", whole.object == "chat.completion" and len(whole.choices) == 2 and whole.usage.completion_tokens > 0
                 and bytes(entry.bytes) and len(entry.top_logprobs) == 2, whole)

    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, seed=1, max_tokens=12, temperature=0.7, top_p=0.9,
                                            stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    checks.check("chat, streamed", text == whole.choices[0].message.content and chunks[-1].usage.total_tokens > 0
                 and chunks[0].choices[0].delta.role == "assistant", (text, whole))

    # What was answered can be sent back as it came.
    again = client.chat.completions.create(
        model="tiny", messages=[*MESSAGES, whole.choices[0].message, {"role": "user", "content": "more"}], max_tokens=5)
    checks.check("a second turn", again.choices[0].finish_reason in ("stop", "length"), again)

    with client.chat.completions.stream(model="tiny", messages=MESSAGES, seed=1, max_tokens=12) as helper:
        for _ in helper:
            pass
        final = helper.current_completion_snapshot  # the final one is an exception when the length was reached
    checks.check("the streaming helper", final.choices[0].message.content is not None, final)

    scored = client.completions.create(model="tiny", prompt="hello you", max_tokens=0, echo=True, logprobs=5)
    logprobs = scored.choices[0].logprobs
    checks.check("scoring", scored.choices[0].text == "hello you" and logprobs.token_logprobs[0] is None
                 and all(value < 0 for value in logprobs.token_logprobs[1:]) and "".join(logprobs.tokens) == "hello you"
                 and len(logprobs.top_logprobs[1]) == 5, scored)
    batch = client.completions.create(model="tiny", prompt=["a", "b"], max_tokens=3, extra_body={"ignore_eos": True})
    checks.check("a batch of prompts", [choice.index for choice in batch.choices] == [0, 1], batch)
    pieces = "".join(part.choices[0].text for part in client.completions.create(model="tiny", prompt="a", max_tokens=9, seed=2,
                                                                               stream=True))
    checks.check("completions, streamed", pieces == client.completions.create(model="tiny", prompt="a", max_tokens=9,
                                                                             seed=2).choices[0].text, pieces)

    error = raises(openai.NotFoundError, lambda: client.chat.completions.create(model="gpt", messages=MESSAGES))
    checks.check("an unknown model", error is not None and error.code == "model_not_found" and error.param == "model"
                 and error.type == "invalid_request_error", error)
    error = raises(openai.BadRequestError, lambda: client.chat.completions.create(model="tiny", messages=MESSAGES, temperature=3))
    checks.check("a bad request", error is not None and error.param == "temperature" and "expected 0" in error.message, error)
    error = raises(openai.BadRequestError, lambda: client.chat.completions.create(
        model="tiny", messages=MESSAGES, tools=[{"type": "function", "function": {"name": "f"}}]))
    checks.check("what isn't supported", error is not None and error.param == "tools", error)


async def async_client(url, checks):
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
        answers = await asyncio.gather(*(client.chat.completions.create(model="tiny", messages=MESSAGES, seed=i, max_tokens=8)
                                         for i in range(32)))
    checks.check("32 at once", len({answer.id for answer in answers}) == 32)


def main():
    checks = Scenarios()
    with scratch() as name:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        with Server(folder, "models/tiny.gguf", "--parallel", "8", "--ctx-size", "256") as server:
            url = server.url + "/v1"
            with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
                sync_client(client, checks)
            asyncio.run(async_client(url, checks))
    checks.end()


if __name__ == "__main__":
    main()
