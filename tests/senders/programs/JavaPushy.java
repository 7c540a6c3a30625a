// sender: Pushy, a provider token
// provider: apns
// install: com.eatthepath:pushy:0.15.4 org.slf4j:slf4j-nop:1.7.36
// streams: 100
// reached: options
// how: `setApnsServer`, `setTrustedServerCertificateChain`
import com.eatthepath.pushy.apns.ApnsClient;
import com.eatthepath.pushy.apns.ApnsClientBuilder;
import com.eatthepath.pushy.apns.auth.ApnsSigningKey;
import com.eatthepath.pushy.apns.util.SimpleApnsPayloadBuilder;
import com.eatthepath.pushy.apns.util.SimpleApnsPushNotification;
import java.io.File;
import java.util.concurrent.ExecutionException;

public class JavaPushy {
  static ApnsClientBuilder builder() throws Exception {
    return new ApnsClientBuilder()
        .setApnsServer(Sending.given("HOST"), Integer.parseInt(Sending.given("PORT")))
        .setTrustedServerCertificateChain(new File(Sending.given("CA_FILE")));
  }

  public static void main(String[] arguments) throws Exception {
    File key = new File(Sending.given("KEY_FILE"));
    ApnsClient client = builder()
        .setSigningKey(ApnsSigningKey.loadFromPkcs8File(key, Sending.given("TEAM_ID"), Sending.given("KEY_ID")))
        .build();
    String payload = new SimpleApnsPayloadBuilder().setAlertBody("Hi").build();
    Sending.all(token -> {
      try {
        var response = client.sendNotification(new SimpleApnsPushNotification(token, Sending.given("TOPIC"), payload)).get();
        return response.isAccepted() ? "ok" : "PushNotificationResponse: " + response.getRejectionReason().orElse("");
      } catch (ExecutionException error) {
        return Sending.named(error.getCause());
      }
    });
  }
}
