// sender: firebase-admin for Node, sendEach
// provider: fcm
// install: firebase-admin@13.10.0
// streams: 500
// reached: hosts
// how: hosts file and port 443; NODE_EXTRA_CA_CERTS
import { cert, initializeApp } from 'firebase-admin/app';
import { getMessaging } from 'firebase-admin/messaging';
import { finish, given, named, streams, tell, tokens } from './sending.mjs';

initializeApp({ credential: cert(given('SERVICE_ACCOUNT_FILE')) });
for (let first = 0; first < tokens.length; first += streams) {
  const batch = tokens.slice(first, first + streams).map((token) => ({ token, notification: { title: 'Hi' } }));
  try {
    const { responses } = await getMessaging().sendEach(batch);
    responses.forEach(({ success, error }, at) => tell(batch[at].token, success ? 'ok' : named(error)));
  } catch (error) {
    batch.forEach(({ token }) => tell(token, named(error)));
  }
}
finish();
