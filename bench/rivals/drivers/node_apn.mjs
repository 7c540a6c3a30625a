// rival: @parse/node-apn
// provider: apns
// install: @parse/node-apn@8.1.0
// streams: 1000
// source: the README of parse-community/node-apn, "Quick Start": one Provider and `send`; its session takes as many streams
// as the server allows. address, port and ca are options of its own.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const apn = require('@parse/node-apn');
const given = (name) => process.env[`RIVAL_${name}`];
const count = Number(given('COUNT')), streams = Number(given('STREAMS'));
const { aps, ...rest } = JSON.parse(given('PAYLOAD'));
const provider = new apn.Provider({
  token: { key: given('KEY_FILE'), keyId: given('KEY_ID'), teamId: given('TEAM_ID') },
  address: given('HOST'),
  port: Number(given('PORT')),
  ca: fs.readFileSync(given('CA_FILE')),
  requestTimeout: 60000,
});

async function send(number) {
  const note = new apn.Notification();
  note.topic = given('TOPIC');
  note.pushType = 'alert';
  note.alert = { ...aps.alert };
  note.sound = aps.sound;
  note.badge = aps.badge;
  note.payload = { ...rest, order: 1000000 + number };
  const result = await provider.send(note, number.toString(16).padStart(64, '0'));
  return result.sent.length;
}

async function sendAll(total) {
  let next = 0, ok = 0;
  const worker = async () => { while (next < total) if (await send(next++)) ok++; };
  await Promise.all(Array.from({ length: streams }, worker));
  return ok;
}

await sendAll(1);
await sendAll(Math.min(count, 5000)); // V8 compiles what is hot first
const wall = process.hrtime.bigint(), cpu = process.cpuUsage();
const ok = await sendAll(count);
const used = process.cpuUsage(cpu), took = Number(process.hrtime.bigint() - wall) / 1e9;
const version = JSON.parse(fs.readFileSync(new URL('./node_modules/@parse/node-apn/package.json', import.meta.url))).version;
console.log(JSON.stringify({ rate: count / took, cpu_us: (used.user + used.system) / count, ok, version }));
await provider.shutdown();
