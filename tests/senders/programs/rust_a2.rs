// sender: a2
// provider: apns
// install: a2@0.10.0 tokio@1+rt-multi-thread,macros serde_json@1
// streams: 100
// reached: hosts
// replace: a2 src/client.rs HttpsConnectorBuilder::new()\n        .with_webpki_roots() ==> HttpsConnectorBuilder::new().with_tls_config({ let pem = std::fs::read(std::env::var("SENDER_CA_FILE").unwrap()).unwrap(); let mut roots = rustls::RootCertStore::empty(); for each in rustls_pemfile::certs(&mut &pem[..]) { roots.add(each.unwrap()).unwrap(); } rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth() })
// how: hosts file and port 443; it trusts roots that are compiled in, so that expression alone is replaced when it is built. Its first push is alone: what it sends before
// Apple's first response has come is beyond the stream limit of 1, and it does not send that again
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
