"""The official clients through `retort-guard`, unchanged: Python's and npm's `openai`, npm's `@anthropic-ai/sdk`; before a
scripted upstream, and before `retort serve`.

`make test` installs the clients once into the cache (scripts/clients.sh)."""

import json
import pathlib
import shutil
import subprocess
import sys

from guard import Guard, add_account
from program import SKIPPED, SOURCE, Scenarios, make_models, scratch
from scripted_upstream import CHAT_TEXT, REASONING, ScriptedUpstream
from server import Server


def site(flag):
    return pathlib.Path(subprocess.run([SOURCE / "scripts/clients.sh", flag], capture_output=True, text=True, check=True).stdout.strip())


if not (site("--path") / "done").exists():
    print(f"skipped: the openai client is not in {site('--path')}; `make test` or scripts/clients.sh installs it")
    sys.exit(SKIPPED)
sys.path.insert(0, str(site("--path")))
import openai  # noqa: E402  (only to be had after the line above)

GUARD_YAML = """
listen: 127.0.0.1:0
upstreams:
  - {{name: scripted, url: "{scripted}", key_env: UPSTREAM_KEY, models: [small, large]}}
  - {{name: local, url: "{local}", models: [tiny]}}
  - {{name: anthropic, dialect: anthropic, url: "{scripted}", key_env: UPSTREAM_KEY}}
evidence: {{path: evidence, prompts: sketch, required: true}}
sealing: {{keys: sealing.json}}
tiers: {{verified: {{expose: {{logprobs: 5, stored: true, models: [small, tiny, "claude-*"]}}}}}}
"""
QUESTION = [{"role": "user", "content": "What is two and two?"}]


def python_client(checks, guard, key):
    client = openai.OpenAI(base_url=guard.url + "/v1", api_key=key, max_retries=0)
    whole = client.chat.completions.create(model="small", messages=QUESTION)
    checks.check("python: chat", whole.choices[0].message.content == CHAT_TEXT and whole.usage.total_tokens == 18, whole)
    chunks = list(client.chat.completions.create(model="small", messages=QUESTION, stream=True))
    checks.check("python: chat, streamed", "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == CHAT_TEXT, chunks)
    checks.check("python: the usage that the guard asked for is hidden", all(chunk.usage is None and chunk.choices for chunk in chunks), chunks)
    chunks = list(client.chat.completions.create(model="small", messages=QUESTION, stream=True, stream_options={"include_usage": True}))
    checks.check("python: and shown to who asked", chunks[-1].usage.total_tokens == 18, chunks)
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
    called = client.chat.completions.create(model="small", messages=QUESTION, tools=tools)
    checks.check("python: tools", called.choices[0].message.tool_calls[0].function.name == "add", called)
    answer = client.responses.create(model="small", input="two and two?")
    checks.check("python: responses", answer.output_text == CHAT_TEXT and answer.output[0].encrypted_content.startswith("rtb1."), answer)
    with client.responses.stream(model="small", input="two and two?") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        checks.check("python: responses, streamed", text == CHAT_TEXT and stream.get_final_response().usage.output_tokens == 7, text)
    again = client.responses.create(model="small", input=[{"role": "user", "content": "two and two?"}, *[item.model_dump() for item in answer.output],
                                                          {"role": "user", "content": "And three?"}])
    checks.check("python: reasoning goes back as it came", again.output_text == CHAT_TEXT, again)
    local = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=8, logprobs=True, top_logprobs=2, seed=1)
    checks.check("python: retort serve behind", len(local.choices[0].logprobs.content[0].top_logprobs) == 2, local)
    streamed = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=8, seed=1, stream=True)
    checks.check("python: streamed", "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == local.choices[0].message.content)
    checks.check("python: models", {model.id for model in client.models.list()} == {"small"}, list(client.models.list()))
    try:
        client.chat.completions.create(model="large", messages=QUESTION)
        checks.check("python: a model that isn't exposed", False)
    except openai.NotFoundError as error:
        checks.check("python: a model that isn't exposed", error.code == "model_not_found", error)


def npm_clients(checks, guard, key, folder):
    npm = site("--npm-path")
    if shutil.which("node") is None or not (npm / "done").exists():
        print("skipped: the npm clients; there is no Node.js, or scripts/clients.sh could not install them")
        return
    shutil.copy(SOURCE / "tests/system/npm/guard_client.mjs", folder / "guard_client.mjs")
    (folder / "node_modules").symlink_to(npm / "node_modules")
    done = subprocess.run(["node", "guard_client.mjs", guard.url, key], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    checks.check("npm: the program ran", done.returncode == 0, done.stderr)
    seen = json.loads(done.stdout or "{}")
    for name in ("chat", "chatStream", "responses", "responsesStream"):
        checks.check(f"npm: {name}", seen.get(name) == CHAT_TEXT, seen)
    checks.check("npm: tools, usage, models", seen.get("tool") == "add" and seen.get("responsesUsage") == 7 and seen.get("models") == ["small"], seen)
    for name in ("apiKey", "authToken"):
        checks.check(f"npm: messages by {name}", seen.get(name) == {"text": CHAT_TEXT, "streamed": CHAT_TEXT, "thinking": REASONING,
                                                                    "sealed": "rtb1.", "usage": 7, "next": "end_turn", "count": 11}, seen)
    checks.check("npm: errors are the client's own", seen.get("openaiError") == ["AuthenticationError", 401, "invalid_api_key"]
                 and seen.get("anthropicError") == ["AuthenticationError", 401, "authentication_error"], seen)


def main():
    checks = Scenarios()
    with scratch() as name, ScriptedUpstream() as upstream:
        folder = pathlib.Path(name)
        make_models(folder / "models")
        with Server(folder, "models/tiny.gguf", "--parallel", "2", "--ctx-size", "256") as server:
            (folder / "guard.yaml").write_text(GUARD_YAML.format(scripted=upstream.url, local=server.url))
            key = add_account(folder, "acme-1", organisation="acme")
            with Guard(folder) as guard:
                python_client(checks, guard, key)
                npm_clients(checks, guard, key, folder)
                checks.check("SIGTERM ends it", guard.stop() == 0, (folder / "guard.log").read_text())
    checks.end()


if __name__ == "__main__":
    main()
