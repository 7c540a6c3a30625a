// rival: apns2 (npm)
// provider: apns
// install: apns2@12.2.0
// streams: 100
// source: the README of AndrewBarba/apns2: one ApnsClient with keepAlive, `send` many times at once. It knows port 443 only,
// so its undici Pool is made again with the same options, one connection and our certificate.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { ApnsClient, Notification } from 'apns2';

const require = createRequire(import.meta.resolve('apns2'));
const { Pool } = require('undici');
const given = (name) => process.env[`RIVAL_${name}`];
const count = Number(given('COUNT')), streams = Number(given('STREAMS'));
const { aps, ...rest } = JSON.parse(given('PAYLOAD'));
const client = new ApnsClient({
  team: given('TEAM_ID'),
  keyId: given('KEY_ID'),
  signingKey: fs.readFileSync(given('KEY_FILE')),
  defaultTopic: given('TOPIC'),
  host: given('HOST'),
});
await client.client.close();
client.client = new Pool(given('URL'), {
  connections: 1,
  pipelining: streams,
  allowH2: true,
  maxConcurrentStreams: streams,
  connect: { ca: fs.readFileSync(given('CA_FILE')) },
});

async function send(number) {
  const note = new Notification(number.toString(16).padStart(64, '0'), {
    alert: { ...aps.alert },
    sound: aps.sound,
    badge: aps.badge,
    data: { ...rest, order: 1000000 + number },
  });
  await client.send(note);
  return 1;
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
const version = JSON.parse(fs.readFileSync(new URL('./node_modules/apns2/package.json', import.meta.url))).version;
console.log(JSON.stringify({ rate: count / took, cpu_us: (used.user + used.system) / count, ok, version }));
process.exit(0);
