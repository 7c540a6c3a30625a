// sender: @parse/node-apn
// provider: apns
// install: @parse/node-apn@8.1.0
// streams: 100
// reached: options
// how: `address`, `port` and `ca` are options. The program sends its first push
// alone: before Apple's first response the stream limit is 1, and this sender does not retry pushes beyond it
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { given, named, sendAll } from './sending.mjs';

const apn = createRequire(import.meta.url)('@parse/node-apn');
const provider = new apn.Provider({
  token: { key: given('KEY_FILE'), keyId: given('KEY_ID'), teamId: given('TEAM_ID') },
  address: given('HOST'),
  port: Number(given('PORT')),
  ca: fs.readFileSync(given('CA_FILE')),
});

await sendAll(async (token) => {
  const note = new apn.Notification({ topic: given('TOPIC'), pushType: 'alert', alert: 'Hi' });
  const { sent, failed } = await provider.send(note, token);
  if (sent.length) return 'ok';
  const [{ status, response, error }] = failed;
  return error ? `failed: ${named(error)}` : `failed: ${status} ${response?.reason}`;
}, { firstAlone: true });
await provider.shutdown();
