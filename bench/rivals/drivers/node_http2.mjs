// rival: Node http2
// provider: apns
// install: nothing
// streams: 1000
// source: nodejs.org/api/http2.html: one ClientHttp2Session, a new stream as soon as one has ended.
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
    ':path': '/3/device/' + number.toString(16).padStart(64, '0'),
    authorization: given('AUTHORIZATION'),
    'apns-topic': given('TOPIC'),
    'apns-push-type': 'alert',
  });
  let status = 0;
  request.on('response', (headers) => { status = headers[':status']; });
  request.on('error', () => {});
  request.on('close', () => ended(status === 200));
  request.resume();
  const { aps, ...rest } = ready;
  request.end(JSON.stringify({ aps: { ...aps, alert: { ...aps.alert } }, ...rest, order: 1000000 + number }));
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
