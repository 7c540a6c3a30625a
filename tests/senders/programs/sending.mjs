// What the programs in Node share; `sending.py` says what they are given.
import fs from 'node:fs';

export const given = (name) => process.env[`SENDER_${name}`] ?? '';
export const tokens = fs.readFileSync(0, 'utf8').split('\n').filter(Boolean);
export const streams = Number(given('STREAMS')) || 1;

export const tell = (token, outcome) => console.log(JSON.stringify({ token, outcome }));

export const named = (error) => {
  const kind = error.code && error.code !== error.name ? `${error.name} ${error.code}` : error.name;
  return `${error.constructor.name === error.name ? kind : `${error.constructor.name} ${error.code ?? ''}`.trim()}: ${error.message}`;
};

// Send to every token, `streams` at a time. `send` returns the outcome; what it throws is one, too.
export async function sendAll(send, { firstAlone = false } = {}) {
  let next = 0;
  const one = async () => {
    const token = tokens[next++];
    try {
      tell(token, await send(token));
    } catch (error) {
      tell(token, named(error));
    }
  };
  if (firstAlone && tokens.length) await one();
  const worker = async () => { while (next < tokens.length) await one(); };
  await Promise.all(Array.from({ length: Math.min(streams, tokens.length) }, worker));
}

// End the process once every outcome is written: a pipe that is full takes the rest later.
export const finish = () => process.stdout.write('', () => process.exit(0));
