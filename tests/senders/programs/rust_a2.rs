// sender: a2
// provider: apns
// install: a2@0.10.0 tokio@1+rt-multi-thread,macros serde_json@1
// streams: 100
// reached: hosts
// replace: a2 src/client.rs HttpsConnectorBuilder::new()\n        .with_webpki_roots() ==> HttpsConnectorBuilder::new().with_tls_config({ let pem = std::fs::read(std::env::var("SENDER_CA_FILE").unwrap()).unwrap(); let mut roots = rustls::RootCertStore::empty(); for each in rustls_pemfile::certs(&mut &pem[..]) { roots.add(each.unwrap()).unwrap(); } rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth() })
// how: hosts file and port 443; its root certificates are compiled in, so the build replaces that expression. The program sends its first push
// alone: before Apple's first response the stream limit is 1, and this sender does not retry pushes beyond it
mod sending;

use a2::{Client, ClientConfig, DefaultNotificationBuilder, Endpoint, NotificationBuilder, NotificationOptions, PushType};
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
            let payload = DefaultNotificationBuilder::new().set_body("Hi").build(&token, options);
            match client.send(payload).await {
                Ok(_) => "ok".into(),
                Err(error) => named(&error),
            }
        }
    })
    .await;
}
