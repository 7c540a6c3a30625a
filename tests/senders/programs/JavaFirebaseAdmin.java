// sender: firebase-admin for Java, send
// provider: fcm
// install: com.google.firebase:firebase-admin:9.10.0 org.slf4j:slf4j-nop:2.0.17
// streams: 10
// reached: hosts
// how: hosts file and port 443; the JVM's `javax.net.ssl.trustStore`
import com.google.auth.oauth2.GoogleCredentials;
import com.google.firebase.FirebaseApp;
import com.google.firebase.FirebaseOptions;
import com.google.firebase.messaging.FirebaseMessaging;
import com.google.firebase.messaging.FirebaseMessagingException;
import com.google.firebase.messaging.Message;
import com.google.firebase.messaging.Notification;
import java.io.FileInputStream;

public class JavaFirebaseAdmin {
  public static void main(String[] arguments) throws Exception {
    var credentials = GoogleCredentials.fromStream(new FileInputStream(Sending.given("SERVICE_ACCOUNT_FILE")));
    FirebaseApp.initializeApp(FirebaseOptions.builder().setCredentials(credentials).build());
    Sending.all(token -> {
      var notification = Notification.builder().setTitle("Hi").build();
      try {
        FirebaseMessaging.getInstance().send(Message.builder().setToken(token).setNotification(notification).build());
      } catch (FirebaseMessagingException error) {
        return "FirebaseMessagingException " + error.getErrorCode() + " " + error.getMessagingErrorCode() + ": " + error.getMessage();
      }
      return "ok";
    });
  }
}
