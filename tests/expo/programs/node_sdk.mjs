// Sends with expo-server-sdk, unmodified, and fetches the receipts. Standard input is a list of jobs, standard output what came of each.
import { readFileSync } from 'node:fs';
import { Expo } from 'expo-server-sdk';

async function run(job) {
  const expo = new Expo({ accessToken: job.access_token, retryMinTimeout: 1 });
  const result = { tickets: [], receipts: {}, errors: [] };
  async function attempt(call) {
    try {
      return await call();
    } catch (error) {
      result.errors.push([error.code ?? error.name, error.statusCode ?? null, error.message, error.details ?? null]);
      return [];
    }
  }
  const chunks = job.whole ? [job.messages] : expo.chunkPushNotifications(job.messages);
  for (const chunk of chunks) {
    result.tickets.push(...(await attempt(() => expo.sendPushNotificationsAsync(chunk))));
  }
  const ids = job.ids ?? result.tickets.filter((ticket) => ticket.id).map((ticket) => ticket.id);
  for (const chunk of job.ids ? [ids] : expo.chunkPushNotificationReceiptIds(ids)) {
    Object.assign(result.receipts, await attempt(() => expo.getPushNotificationReceiptsAsync(chunk)));
  }
  return result;
}

const results = [];
for (const job of JSON.parse(readFileSync(0))) {
  results.push(await run(job));
}
console.log(JSON.stringify(results));
