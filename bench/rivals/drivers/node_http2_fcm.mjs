// rival: Node http2
// provider: fcm
// install: nothing
// streams: 100
// source: nodejs.org/api/http2.html: one ClientHttp2Session, a new stream as soon as one has ended; FCM's v1 request as Google
// documents it, with an access token that somebody else has fetched.
import fs from 'node:fs';
import http2 from 'node:http2';

const given = (name) => process.env[`RIVAL_${name}`];
const count = Number(given('COUNT'));
const streams = Number(given('STREAMS'));
const ready = JSON.parse(given('PAYLOAD'));
const session = http2.connect(given('URL'), { ca: fs.readFileSync(given('CA_FILE')) });

function send(number, ended) {
  const request = session.request({
    ':method': 'POST',
    ':path': `/v1/projects/${given('PROJECT_ID')}/messages:send`,
    authorization: given('AUTHORIZATION'),
    'content-type': 'application/json',
  });
  let status = 0;
  request.on('response', (headers) => { status = headers[':status']; });
  request.on('error', () => {});
  request.on('close', () => ended(status === 200));
  request.resume();
  const token = 'dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b' + number.toString(16).padStart(128, '0');
  const data = { ...ready.data, order: String(1000000 + number) };
  request.end(JSON.stringify({ message: { token, notification: { ...ready.notification }, data, android: ready.android } }));
}

function sendAll(total) {
  return new Promise((resolve) => {
    let next = 0, ended = 0, ok = 0;
    const one = () => {
      if (next >= total) return;
      send(next++, (good) => {
        ok += good;
        if (++ended === total) resolve(ok);
        else one();
      });
    };
    for (let at = 0; at < streams; at++) one();
  });
}

await sendAll(Math.min(count, 5000)); // V8 compiles what is hot first
const wall = process.hrtime.bigint(), cpu = process.cpuUsage();
const ok = await sendAll(count);
const used = process.cpuUsage(cpu), took = Number(process.hrtime.bigint() - wall) / 1e9;
console.log(JSON.stringify({ rate: count / took, cpu_us: (used.user + used.system) / count, ok, version: process.versions.node }));
session.close();
