// The official npm client, unchanged, against the server whose address is the only argument. Prints one JSON object.
import OpenAI from 'openai';

const client = new OpenAI({baseURL: process.argv[2], apiKey: 'none', maxRetries: 0});
const request = {model: 'tiny', messages: [{role: 'user', content: 'hello'}], max_tokens: 12, seed: 1, logprobs: true, top_logprobs: 2};
const seen = {};

const whole = await client.chat.completions.create(request);
seen.whole = whole.choices[0].message.content;
seen.tops = whole.choices[0].logprobs.content.map((token) => token.top_logprobs.length);
seen.usage = whole.usage;

seen.streamed = '';
for await (const chunk of await client.chat.completions.create({...request, stream: true, stream_options: {include_usage: true}})) {
  seen.streamed += chunk.choices[0]?.delta?.content ?? '';
  if (chunk.usage) seen.streamedUsage = chunk.usage;
}

const scored = await client.completions.create({model: 'tiny', prompt: 'hello you', max_tokens: 0, echo: true, logprobs: 1});
seen.scored = scored.choices[0].logprobs.token_logprobs;

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);

try {
  await client.chat.completions.create({...request, model: 'gpt'});
} catch (error) {
  seen.error = [error.constructor.name, error.status, error.code, error.param];
}
console.log(JSON.stringify(seen));
