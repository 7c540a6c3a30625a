// What the programs in Rust share; `sending.py` says what they are given.
use std::future::Future;
use std::io::BufRead;
use std::sync::{Arc, Mutex};

pub fn given(name: &str) -> String {
    std::env::var(format!("SENDER_{name}")).expect(name)
}

/// The variant of an error and its text.
pub fn named(error: &(impl std::error::Error + std::fmt::Debug)) -> String {
    let debug = format!("{error:?}");
    let variant: String = debug.chars().take_while(|letter| letter.is_alphanumeric()).collect();
    format!("{variant}: {error}")
}

fn tell(token: &str, outcome: String) {
    println!("{}", serde_json::json!({ "token": token, "outcome": outcome }));
}

/// Send to the first token, then to all others, so many at a time as we are told. `send` returns the outcome.
pub async fn send_all<S, F>(send: S)
where
    S: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = String> + Send,
{
    let streams: usize = given("STREAMS").parse().unwrap();
    let tokens: Vec<String> = std::io::stdin().lock().lines().map(|line| line.unwrap()).collect();
    let mut tokens = tokens.into_iter();
    if let Some(token) = tokens.next() {
        tell(&token, send(token.clone()).await);
    }
    let tokens = Arc::new(Mutex::new(tokens));
    let workers: Vec<_> = (0..streams)
        .map(|_| {
            let (send, tokens) = (send.clone(), tokens.clone());
            tokio::spawn(async move {
                loop {
                    let Some(token) = tokens.lock().unwrap().next() else { break };
                    tell(&token, send(token.clone()).await);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}
