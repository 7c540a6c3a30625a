// sender: Pushy, a certificate
// provider: apns
// install: com.eatthepath:pushy:0.15.4 org.slf4j:slf4j-nop:1.7.36
// streams: 100
// reached: options
// how: `setApnsServer`, `setTrustedServerCertificateChain`
import com.eatthepath.pushy.apns.ApnsClient;
import com.eatthepath.pushy.apns.ApnsClientBuilder;
import com.eatthepath.pushy.apns.util.SimpleApnsPayloadBuilder;
import com.eatthepath.pushy.apns.util.SimpleApnsPushNotification;
import java.io.File;
import java.util.concurrent.ExecutionException;

public class JavaPushyCertificate {
  static ApnsClientBuilder builder() throws Exception {
    return new ApnsClientBuilder()
        .setApnsServer(Sending.given("HOST"), Integer.parseInt(Sending.given("PORT")))
        .setTrustedServerCertificateChain(new File(Sending.given("CA_FILE")));
  }

  public static void main(String[] arguments) throws Exception {
    ApnsClient client = builder()
        .setClientCredentials(new File(Sending.given("CERTIFICATE_FILE")), Sending.given("CERTIFICATE_PASSWORD"))
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
