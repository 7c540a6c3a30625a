// rival: firebase-admin for Node
// provider: fcm
// install: firebase-admin@13.10.0
// streams: 500
// source: firebase.google.com/docs/cloud-messaging/send-message, "Send messages in batches": `sendEach` with the 500 messages that
// it takes at most, over HTTP/2 as by default. Its host has no option; the class that connects is given ours. It makes a
// connection for each batch, which is its design.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { initializeApp } from 'firebase-admin/app';
import { getMessaging } from 'firebase-admin/messaging';

const require = createRequire(import.meta.url);
const given = (name) => process.env[`RIVAL_${name}`];
const count = Number(given('COUNT')), streams = Number(given('STREAMS'));
const ready = JSON.parse(given('PAYLOAD'));
const api = require(new URL('./node_modules/firebase-admin/lib/utils/api-request.js', import.meta.url).pathname);
const Handler = api.Http2SessionHandler;
Object.defineProperty(api, 'Http2SessionHandler', {
  value: class extends Handler {
    constructor() { super(given('URL')); }
  },
});
const app = initializeApp({
  credential: {
    getAccessToken: async () => ({ access_token: given('AUTHORIZATION').replace('Bearer ', ''), expires_in: 3600 }),
  },
  projectId: given('PROJECT_ID'),
});
const messaging = getMessaging(app);

function message(number) {
  return {
    token: 'dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b' + number.toString(16).padStart(128, '0'),
    notification: { ...ready.notification },
    data: { ...ready.data, order: String(1000000 + number) },
    android: { priority: 'high' },
  };
}

async function sendAll(total) {
  let ok = 0;
  for (let first = 0; first < total; first += streams) {
    const batch = Array.from({ length: Math.min(streams, total - first) }, (_, at) => message(first + at));
    ok += (await messaging.sendEach(batch)).successCount;
  }
  return ok;
}

await sendAll(1);
await sendAll(Math.min(count, 5000)); // V8 compiles what is hot first
const wall = process.hrtime.bigint(), cpu = process.cpuUsage();
const ok = await sendAll(count);
const used = process.cpuUsage(cpu), took = Number(process.hrtime.bigint() - wall) / 1e9;
const version = JSON.parse(fs.readFileSync(new URL('./node_modules/firebase-admin/package.json', import.meta.url))).version;
console.log(JSON.stringify({ rate: count / took, cpu_us: (used.user + used.system) / count, ok, version }));
process.exit(0);
