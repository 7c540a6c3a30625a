// sender: apns-h2
// provider: apns
// install: apns-h2@0.11.0 tokio@1+rt-multi-thread,macros serde_json@1
// streams: 100
// reached: hosts
// how: hosts file and port 443; SSL_CERT_FILE. The program sends its first push
// alone: before Apple's first response the stream limit is 1, and this sender does not retry pushes beyond it
mod sending;

use apns_h2::{Client, ClientConfig, DefaultNotificationBuilder, Endpoint, NotificationBuilder, NotificationOptions, PushType};
use sending::{given, named, send_all};

#[tokio::main]
async fn main() {
    let mut key = std::fs::File::open(given("KEY_FILE")).unwrap();
    let config = ClientConfig::new(Endpoint::Production);
    let client = Client::token(&mut key, given("KEY_ID"), given("TEAM_ID"), config).unwrap();
    let topic = given("TOPIC");
    send_all(move |token| {
        let (client, topic) = (client.clone(), topic.clone());
        async move {
            let options = NotificationOptions {
                apns_topic: Some(&topic),
                apns_push_type: Some(PushType::Alert),
                ..Default::default()
            };
            let payload = DefaultNotificationBuilder::new().body("Hi").build(token, options);
            match client.send(payload).await {
                Ok(_) => "ok".into(),
                Err(error) => named(&error),
            }
        }
    })
    .await;
}
