// The official npm clients through `retort-guard`, unchanged; what was seen is printed as JSON for the test.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const seen = {};
const question = [{ role: "user", content: "What is two and two?" }];

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
seen.chat = (await openai.chat.completions.create({ model: "small", messages: question })).choices[0].message.content;
seen.chatStream = "";
for await (const chunk of await openai.chat.completions.create({ model: "small", messages: question, stream: true })) {
  seen.chatStream += chunk.choices[0]?.delta?.content ?? "";
}
const tools = [{ type: "function", function: { name: "add", parameters: { type: "object", properties: {} } } }];
seen.tool = (await openai.chat.completions.create({ model: "small", messages: question, tools })).choices[0].message.tool_calls[0]
  .function.name;
seen.responses = (await openai.responses.create({ model: "small", input: "two and two?" })).output_text;
seen.responsesStream = "";
for await (const event of await openai.responses.create({ model: "small", input: "two and two?", stream: true })) {
  if (event.type === "response.output_text.delta") seen.responsesStream += event.delta;
  if (event.type === "response.completed") seen.responsesUsage = event.response.usage.output_tokens;
}
seen.models = (await openai.models.list()).data.map((model) => model.id);
try {
  await new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong", maxRetries: 2 }).models.list();
} catch (error) {
  seen.openaiError = [error.constructor.name, error.status, error.code];
}

for (const [name, options] of [["apiKey", { apiKey: key }], ["authToken", { apiKey: null, authToken: key }]]) {
  const anthropic = new Anthropic({ baseURL: url, maxRetries: 0, ...options });
  const ask = { model: "claude-x", max_tokens: 2000, messages: question, thinking: { type: "enabled", budget_tokens: 1024 } };
  const whole = await anthropic.messages.create(ask);
  const stream = anthropic.messages.stream(ask);
  let streamed = "";
  stream.on("text", (text) => (streamed += text));
  const final = await stream.finalMessage();
  // An agent's next turn: the thinking goes back as it came.
  const next = await anthropic.messages.create({
    ...ask,
    messages: [...question, { role: "assistant", content: final.content }, { role: "user", content: "And three?" }],
  });
  const count = await anthropic.messages.countTokens({ model: "claude-x", messages: question });
  seen[name] = {
    text: whole.content.find((block) => block.type === "text").text,
    streamed,
    thinking: final.content.find((block) => block.type === "thinking").thinking,
    sealed: final.content.find((block) => block.type === "thinking").signature.slice(0, 5),
    usage: final.usage.output_tokens,
    next: next.stop_reason,
    count: count.input_tokens,
  };
}
try {
  await new Anthropic({ baseURL: url, apiKey: "wrong", maxRetries: 2 }).messages.create({ model: "claude-x", max_tokens: 5, messages: question });
} catch (error) {
  seen.anthropicError = [error.constructor.name, error.status, error.error?.error?.type];
}
console.log(JSON.stringify(seen));
