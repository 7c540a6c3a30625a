// rival: apns-h2
// provider: apns
// install: apns-h2@0.11.0 tokio@1+full serde_json@1 libc@0.2
// streams: 1000
// source: the README of threema-ch/apns-h2 and examples/token_client.rs: one Client for all, `send` from many tasks, on the
// runtime that Tokio makes for one core. It trusts the system's authorities, which SSL_CERT_FILE names; it has no option for the host,
// so this expression is replaced.
// replace: apns-h2 src/client.rs Endpoint::Production => "api.push.apple.com" ==> Endpoint::Production => { static HOST: std::sync::OnceLock<String> = std::sync::OnceLock::new(); HOST.get_or_init(|| std::env::var("RIVAL_ADDRESS").unwrap()).as_str() }

use apns_h2::client::ClientConfig;
use apns_h2::{Client, DefaultNotificationBuilder, Endpoint, NotificationBuilder, NotificationOptions, PushType};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

fn given(name: &str) -> String {
    std::env::var(format!("RIVAL_{name}")).expect(name)
}

fn cpu() -> f64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) as f64 + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) as f64 / 1e6
}

async fn send(client: &Client, ready: &serde_json::Value, topic: &str, number: usize) -> bool {
    let token = format!("{number:064x}");
    let text = |name: &str| ready["aps"]["alert"][name].as_str().unwrap();
    let options = NotificationOptions {
        apns_topic: Some(topic),
        apns_push_type: Some(PushType::Alert),
        ..Default::default()
    };
    let mut payload = DefaultNotificationBuilder::new()
        .title(text("title"))
        .body(text("body"))
        .sound("default")
        .badge(3u32)
        .build(&token, options);
    payload.add_custom_data("order", &(1_000_000 + number)).unwrap();
    payload.add_custom_data("link", &ready["link"]).unwrap();
    match client.send(payload).await {
        Ok(response) => response.code == 200,
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Before anything else runs: no other thread reads the environment yet.
    unsafe { std::env::set_var("SSL_CERT_FILE", given("CA_FILE")) };
    let count: usize = given("COUNT").parse().unwrap();
    let streams: usize = given("STREAMS").parse().unwrap();
    let mut key = std::fs::File::open(given("KEY_FILE")).unwrap();
    let config = ClientConfig { request_timeout: Some(std::time::Duration::from_secs(60)), ..ClientConfig::new(Endpoint::Production) };
    let client = Client::token(&mut key, given("KEY_ID"), given("TEAM_ID"), config).unwrap();
    let ready: Arc<serde_json::Value> = Arc::new(serde_json::from_str(&given("PAYLOAD")).unwrap());
    let topic: Arc<str> = given("TOPIC").into();
    send(&client, &ready, &topic, 0).await;
    let (next, ok) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (wall, used) = (Instant::now(), cpu());
    let workers: Vec<_> = (0..streams)
        .map(|_| {
            let (client, ready, topic) = (client.clone(), ready.clone(), topic.clone());
            let (next, ok) = (next.clone(), ok.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    if send(&client, &ready, &topic, number).await {
                        ok.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let took = wall.elapsed().as_secs_f64();
    println!(
        "{{\"rate\": {}, \"cpu_us\": {}, \"ok\": {}, \"version\": \"0.11.0\"}}",
        count as f64 / took,
        (cpu() - used) / count as f64 * 1e6,
        ok.load(Ordering::Relaxed)
    );
}
