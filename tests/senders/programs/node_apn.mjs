// sender: @parse/node-apn
// provider: apns
// install: @parse/node-apn@8.1.0
// streams: 100
// reached: options
// how: `address`, `port` and `ca` are options. Its first push is alone: what it sends before Apple's first response has come
// is beyond the stream limit of 1, and it does not send that again
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
