// What the programs in Java share; `sending.py` says what they are given.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

class Sending {
  interface Send {
    String to(String token) throws Exception;
  }

  static String given(String name) {
    return System.getenv("SENDER_" + name);
  }

  static String quoted(String text) {
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\s+", " ") + '"';
  }

  static String named(Throwable error) {
    return error.getClass().getSimpleName() + ": " + error.getMessage();
  }

  // Send to every token, so many at a time as we are told. `send` returns the outcome; what it throws is one, too.
  static void all(Send send) throws Exception {
    List<String> tokens = new BufferedReader(new InputStreamReader(System.in)).lines().toList();
    ExecutorService workers = Executors.newFixedThreadPool(Integer.parseInt(given("STREAMS")));
    for (String token : tokens) {
      workers.submit(() -> {
        String outcome;
        try {
          outcome = send.to(token);
        } catch (Throwable error) {
          outcome = named(error);
        }
        System.out.println("{\"token\": " + quoted(token) + ", \"outcome\": " + quoted(outcome) + "}");
      });
    }
    workers.shutdown();
    workers.awaitTermination(1, TimeUnit.HOURS);
    System.exit(0);
  }
}
