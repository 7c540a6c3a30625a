// rival: Pushy
// provider: apns
// install: com.eatthepath:pushy:0.15.4 org.slf4j:slf4j-nop:1.7.36
// streams: 1000
// source: the README of jchambers/pushy, "Sending push notifications" and "Best practices": one ApnsClient, a semaphore so that
// no more are in flight than the server takes, results by whenComplete. Server and certificates are options of its own.
import com.eatthepath.pushy.apns.ApnsClient;
import com.eatthepath.pushy.apns.ApnsClientBuilder;
import com.eatthepath.pushy.apns.auth.ApnsSigningKey;
import com.eatthepath.pushy.apns.util.SimpleApnsPayloadBuilder;
import com.eatthepath.pushy.apns.util.SimpleApnsPushNotification;
import java.io.File;
import java.lang.management.ManagementFactory;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;

public class JavaPushy {
  static String given(String name) {
    return System.getenv("RIVAL_" + name);
  }

  static long cpu() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }

  static String text(String name) {
    String payload = given("PAYLOAD");
    int from = payload.indexOf("\"" + name + "\":\"") + name.length() + 4;
    return payload.substring(from, payload.indexOf('"', from));
  }

  static void send(ApnsClient client, int count, int streams, AtomicInteger ok) throws InterruptedException {
    Semaphore room = new Semaphore(streams);
    String title = text("title"), body = text("body"), link = text("link"), topic = given("TOPIC");
    for (int number = 0; number < count; number++) {
      String payload = new SimpleApnsPayloadBuilder()
          .setAlertTitle(title).setAlertBody(body).setSound("default").setBadgeNumber(3)
          .addCustomProperty("order", 1000000 + number).addCustomProperty("link", link).build();
      room.acquire();
      client.sendNotification(new SimpleApnsPushNotification(String.format("%064x", number), topic, payload))
          .whenComplete((response, error) -> {
            if (error == null && response.isAccepted()) ok.incrementAndGet();
            room.release();
          });
    }
    room.acquire(streams);
  }

  public static void main(String[] arguments) throws Exception {
    int count = Integer.parseInt(given("COUNT")), streams = Integer.parseInt(given("STREAMS"));
    ApnsClient client = new ApnsClientBuilder()
        .setApnsServer(given("HOST"), Integer.parseInt(given("PORT")))
        .setTrustedServerCertificateChain(new File(given("CA_FILE")))
        .setSigningKey(ApnsSigningKey.loadFromPkcs8File(new File(given("KEY_FILE")), given("TEAM_ID"), given("KEY_ID")))
        .build();
    AtomicInteger ok = new AtomicInteger();
    send(client, Math.min(count, 20000), streams, new AtomicInteger()); // the JVM compiles what is hot first
    long wall = System.nanoTime(), used = cpu();
    send(client, count, streams, ok);
    double took = (System.nanoTime() - wall) / 1e9;
    System.out.println(String.format(java.util.Locale.ROOT, "{\"rate\": %f, \"cpu_us\": %f, \"ok\": %d, \"version\": \"0.15.4\"}",
        count / took, (cpu() - used) / 1e3 / count, ok.get()));
    System.exit(0);
  }
}
