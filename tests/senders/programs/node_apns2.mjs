// sender: apns2 (npm)
// provider: apns
// install: apns2@12.2.0
// streams: 100
// reached: hosts
// how: hosts file and port 443 (`host` is an option, the port is not); NODE_EXTRA_CA_CERTS
import fs from 'node:fs';
import { ApnsClient, Notification } from 'apns2';
import { finish, given, sendAll } from './sending.mjs';

const client = new ApnsClient({
  team: given('TEAM_ID'),
  keyId: given('KEY_ID'),
  signingKey: fs.readFileSync(given('KEY_FILE')),
  defaultTopic: given('TOPIC'),
});

await sendAll(async (token) => {
  try {
    await client.send(new Notification(token, { alert: 'Hi' }));
  } catch (error) {
    if (error.reason) return `${error.constructor.name}: ${error.reason}`;
    throw error;
  }
  return 'ok';
});
finish();
