// sender: firebase-admin for Node, send
// provider: fcm
// install: firebase-admin@13.10.0
// streams: 50
// reached: hosts
// how: hosts file and port 443; NODE_EXTRA_CA_CERTS. HTTP/1.1
import { cert, initializeApp } from 'firebase-admin/app';
import { getMessaging } from 'firebase-admin/messaging';
import { finish, given, sendAll } from './sending.mjs';

initializeApp({ credential: cert(given('SERVICE_ACCOUNT_FILE')) });
await sendAll(async (token) => {
  await getMessaging().send({ token, notification: { title: 'Hi' } });
  return 'ok';
});
finish();
