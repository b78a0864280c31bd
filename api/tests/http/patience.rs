//! Clients that hang up or come back with what no longer is, and a server that is busy.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use ion_api::documents::DocumentError;
use ion_api::events::{EventLog, History, Kept};
use ion_api::names::RoomName;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::fake::*;

/// For what takes no time, on a machine that has none.
const PATIENCE: Duration = Duration::from_secs(30);

fn create(key: &str) -> Request<Body> {
    Request::post("/v1/rooms")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(r#"{"name":"late","keep":true}"#))
        .unwrap()
}

/// Sends a request whose act in the room waits; returns when it does.
async fn begin(api: &Api, key: &str) -> tokio::task::JoinHandle<()> {
    let answer = api.router.clone().oneshot(create(key));
    let task = tokio::spawn(async { drop(answer.await) });
    while api.backend.calls.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    task
}

#[tokio::test]
async fn who_hangs_up_during_a_creation_gets_its_answer_on_asking_again() {
    let api = Api::dev();
    let asking = begin(&api, "abc").await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    api.backend.gate.notify_one();
    let mut last = StatusCode::CONFLICT;
    for _ in 0..100 {
        let answer = api.router.clone().oneshot(create("abc")).await.unwrap();
        last = answer.status();
        if last != StatusCode::CONFLICT {
            assert_eq!(answer.headers()["idempotent-replayed"], "true");
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(last, StatusCode::CREATED);
    assert_eq!(api.backend.calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stream_of_a_busy_server_lets_go_of_its_thread() {
    let mut config = config(true);
    config.requests_in_flight = 1;
    let api = Api::with(Fake::default(), config);
    let path = format!("/whep/lobby/-/{SESSION}/sse/active");
    let request = Request::get(path).body(Body::empty()).unwrap();
    let stream = api.router.clone().oneshot(request).await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    // The one place for requests is taken from here on.
    let settings = r#"{"lobby":true}"#;
    let json = "content-type: application/json";
    let slow = Request::patch("/v1/rooms/late")
        .header("content-type", "application/json")
        .body(Body::from(settings))
        .unwrap();
    let slow = tokio::spawn(api.router.clone().oneshot(slow));
    while api.backend.calls.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = api.send(Method::GET, "/v1/rooms", &[json], "").await;
    assert_eq!(refused.code(), 503);

    let runtime = tokio::runtime::Handle::current();
    let (told, heard) = std::sync::mpsc::channel();
    // On a thread that nobody waits for, should it never come back.
    std::thread::spawn(move || {
        let _inside = runtime.enter();
        let mut body = stream.into_body();
        let frame = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        told.send(frame.is_pending()).unwrap();
    });
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(true));
    api.backend.gate.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
}

/// A log that was begun anew; each of its ids is an event of one room.
struct Anew(watch::Sender<u64>);

impl EventLog for Anew {
    fn after(&self, id: u64, _: Option<&RoomName>, _: usize) -> Result<History, DocumentError> {
        let newest = *self.0.borrow();
        let event = (id < newest).then(|| Kept {
            id: newest,
            room: RoomName::parse("lobby").unwrap(),
            body: r#"{"event":{"type":"roomOpened"}}"#.to_owned(),
        });
        Ok(History {
            events: event.into_iter().collect(),
            is_cut: id > newest,
        })
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

#[tokio::test]
async fn who_knows_events_of_another_log_is_told_once_and_goes_on() {
    let log = Arc::new(Anew(watch::Sender::new(1)));
    let mut config = config(true);
    config.events = Arc::clone(&log) as Arc<dyn EventLog>;
    let api = Api::with(Fake::default(), config);
    let request = Request::get("/v1/events?after=99")
        .body(Body::empty())
        .unwrap();
    let answer = api.router.clone().oneshot(request).await.unwrap();
    let mut body = answer.into_body();
    let mut next = async || {
        let frame = body.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().into()).unwrap()
    };
    assert!(next().await.contains("event: missed"));
    log.0.send_replace(2);
    let second = next().await;
    assert!(second.contains("event: roomOpened"), "{second}");
}
