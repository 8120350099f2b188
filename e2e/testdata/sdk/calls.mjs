// Makes the calls that stdin names, one after the other, with the vendors' own
// clients, and prints what became of them as JSON.
//
// A call is {sdk, baseURL, apiKey, stream, options}: options go to the client's
// constructor as they are. An outcome is {text, chunks, error}: chunks are the
// moments, in ms, at which pieces of a stream came; error is {name, status,
// type, message}.
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { text } from 'node:stream/consumers';

const messages = [{ role: 'user', content: 'Say something.' }];

async function openai({ baseURL, apiKey, stream, options }, outcome) {
  const client = new OpenAI({ baseURL: baseURL + '/v1', apiKey, ...options });
  const answer = await client.chat.completions.create({ model: 'm', messages, stream });
  if (!stream) {
    outcome.text = answer.choices[0].message.content;
    return;
  }
  for await (const chunk of answer) {
    outcome.chunks.push(performance.now());
    outcome.text += chunk.choices[0]?.delta?.content ?? '';
  }
}

async function anthropic({ baseURL, apiKey, stream, options }, outcome) {
  const client = new Anthropic({ baseURL, apiKey, ...options });
  const answer = await client.messages.create({ model: 'm', max_tokens: 100, messages, stream });
  if (!stream) {
    outcome.text = answer.content[0].text;
    return;
  }
  for await (const event of answer) {
    outcome.chunks.push(performance.now());
    outcome.text += event.delta?.text ?? '';
  }
}

const outcomes = [];
for (const call of JSON.parse(await text(process.stdin))) {
  const outcome = { text: '', chunks: [] };
  try {
    await { openai, anthropic }[call.sdk](call, outcome);
  } catch (e) {
    outcome.error = { name: e.constructor.name, status: e.status ?? 0, type: e.error?.type ?? '', message: e.message };
  }
  outcomes.push(outcome);
}
console.log(JSON.stringify(outcomes));
