//! Webhooks and `/v1/events` of the real process: a receiver that is down for a while, and a control
//! plane that is killed meanwhile.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Folder, Plane};
use ion_api::model::events::{RoomEvent, WebhookSecret, WebhookStatus};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything here takes; a hang fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// The control plane as a process of its own.
struct Control {
    child: Child,
    http: SocketAddr,
    agent: ureq::Agent,
}

impl Control {
    fn start(folder: &Path, http: SocketAddr) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_ion-controlplane"))
            .args([
                "--dev",
                "--rate-burst",
                "100000",
                "--http",
                &http.to_string(),
            ])
            .arg("--state-dir")
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        let control = Self { child, http, agent };
        let ready = control.url("/readyz");
        wait("the control plane", || {
            let answer = control.agent.get(&ready).call();
            answer.is_ok_and(|answer| answer.status() == 200)
        });
        control
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// As `kill -9` does.
    fn kill(mut self) -> SocketAddr {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.http
    }

    fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let request = self
            .agent
            .post(self.url(path))
            .content_type("application/json");
        let answer = request.send(body.to_string()).unwrap();
        let code = answer.status().as_u16();
        (code, answer.into_body().read_to_string().unwrap())
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let answer = self.agent.get(self.url(path)).call().unwrap();
        serde_json::from_reader(answer.into_body().into_reader()).unwrap()
    }

    /// Four events in one room: it is made, changed and closed.
    fn life_of(&self, room: &str) {
        let (code, text) = self.post("/v1/rooms", &json!({"name": room}));
        assert_eq!(code, 201, "{text}");
        let path = self.url(&format!("/v1/rooms/{room}"));
        let request = self.agent.patch(&path).content_type("application/json");
        let changed = request.send(json!({"metadata": "x"}).to_string());
        assert_eq!(changed.unwrap().status(), 200);
        assert_eq!(self.agent.delete(&path).call().unwrap().status(), 204);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LIFE: [&str; 4] = ["roomOpened", "roomUpdated", "roomUpdated", "roomClosed"];

/// What came, in order: `webhook-id`, timestamp, signature, body.
type Came = Arc<Mutex<Vec<(String, String, String, String)>>>;

/// A receiver that answers as it is told to.
struct Receiver {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// `refuse`: so many requests are answered by 500 before any is taken.
    fn start(address: SocketAddr, came: &Came, refuse: u64) -> Self {
        let mut listener = TcpListener::bind(address);
        // The one before may have left connections that the kernel still remembers.
        wait("the receiver's port", || {
            if listener.is_err() {
                listener = TcpListener::bind(address);
            }
            listener.is_ok()
        });
        let listener = listener.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, came, refuse) = (
            Arc::clone(&stop),
            Arc::clone(came),
            Arc::new(AtomicU64::new(refuse)),
        );
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (came, refuse, stopped) =
                    (Arc::clone(&came), Arc::clone(&refuse), Arc::clone(&stopped));
                std::thread::spawn(move || {
                    let _ = serve(&stream.unwrap(), &came, &refuse, &stopped);
                });
            }
        });
        Self {
            stop,
            address,
            thread: Some(thread),
        }
    }

    fn down(mut self) -> SocketAddr {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
        self.address
    }
}

fn serve(
    stream: &TcpStream,
    came: &Came,
    refuse: &AtomicU64,
    stopped: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ") {
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
        let length = headers["content-length"].parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if stopped.load(Ordering::SeqCst) {
            return Ok(());
        }
        let refused = refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        let status = match refused {
            Ok(_) => "500 No",
            Err(_) => {
                let take = |name: &str| headers[name].clone();
                came.lock().unwrap().push((
                    take("webhook-id"),
                    take("webhook-timestamp"),
                    take("webhook-signature"),
                    String::from_utf8(body).unwrap(),
                ));
                "204 Taken"
            }
        };
        write!(
            &mut &*stream,
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"
        )?;
    }
}

/// The events by room, each once, in the order in which they came first.
fn by_room(came: &Came) -> BTreeMap<String, Vec<RoomEvent>> {
    let mut seen = HashSet::new();
    let mut rooms: BTreeMap<String, Vec<RoomEvent>> = BTreeMap::new();
    for (id, _, _, body) in came.lock().unwrap().iter() {
        if seen.insert(id.clone()) {
            let event: RoomEvent = serde_json::from_str(body).unwrap();
            rooms.entry(event.room.clone()).or_default().push(event);
        }
    }
    rooms
}

fn kinds(events: &[RoomEvent]) -> Vec<String> {
    let kind = |event: &RoomEvent| serde_json::to_value(event.event.kind().unwrap()).unwrap();
    let text = |event| kind(event).as_str().unwrap().to_owned();
    events.iter().map(text).collect()
}

#[test]
fn every_event_comes_in_order_though_receiver_and_control_plane_fail() {
    let folder = Folder::new();
    let _plane = Plane::start(&folder.0, 1, 1);
    let came: Came = Arc::default();
    let receiver = Receiver::start(free_address(), &came, 3);
    let control = Control::start(&folder.0, free_address());
    let url = format!("http://{}/hook", receiver.address);
    let (code, text) = control.post("/v1/webhooks", &json!({"url": url}));
    assert_eq!(code, 201, "{text}");
    let webhook: WebhookSecret = serde_json::from_str(&text).unwrap();

    let pending = |control: &Control| {
        let path = format!("/v1/webhooks/{}", webhook.info.id);
        control.get::<WebhookStatus>(&path).deliveries.pending
    };

    // Up, after some refusals. An event that came still waits until its answer has come back, too.
    for n in 0..5 {
        control.life_of(&format!("first-{n}"));
    }
    wait("the first events", || pending(&control) == 0);
    assert_eq!(by_room(&came).values().map(Vec::len).sum::<usize>(), 20);

    // Down; and the control plane is killed with all of it waiting.
    let address = receiver.down();
    for n in 0..20 {
        control.life_of(&format!("down-{n}"));
    }
    let status: WebhookStatus = control.get(&format!("/v1/webhooks/{}", webhook.info.id));
    assert_eq!(status.deliveries.pending, 80);
    assert!(status.deliveries.last_error.is_some());
    let control = Control::start(&folder.0, control.kill());
    for n in 0..5 {
        control.life_of(&format!("after-{n}"));
    }

    // Up again; and it is killed once more, in the middle of delivering.
    let receiver = Receiver::start(address, &came, 2);
    let before = came.lock().unwrap().len();
    wait("deliveries", || came.lock().unwrap().len() > before + 10);
    let control = Control::start(&folder.0, control.kill());
    wait("all events", || {
        by_room(&came).values().map(Vec::len).sum::<usize>() >= 120
    });
    wait("nothing to wait", || pending(&control) == 0);

    let rooms = by_room(&came);
    assert_eq!(rooms.len(), 30);
    for (room, events) in &rooms {
        assert_eq!(kinds(events), LIFE, "{room}");
        assert!(events.is_sorted_by_key(|event| event.id), "{room}");
    }
    check_signatures(&came, &webhook.secret);
    follow(&control, &rooms);
    receiver.down();
}

fn check_signatures(came: &Came, secret: &str) {
    use aws_lc_rs::hmac;
    let secret = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    for (id, timestamp, signature, body) in came.lock().unwrap().iter() {
        let tag = STANDARD
            .decode(signature.strip_prefix("v1,").unwrap())
            .unwrap();
        let message = format!("{id}.{timestamp}.{body}");
        hmac::verify(&key, message.as_bytes(), &tag).unwrap();
    }
}

/// The same events as a stream, from where somebody left off, and of one room.
fn follow(control: &Control, rooms: &BTreeMap<String, Vec<RoomEvent>>) {
    let lines = |path: &str, last: &str, count: usize| -> Vec<RoomEvent> {
        let answer = control
            .agent
            .get(control.url(path))
            .header("last-event-id", last)
            .call();
        let reader = BufReader::new(answer.unwrap().into_body().into_reader());
        let data = reader.lines().map_while(Result::ok);
        let data = data.filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned()));
        data.take(count)
            .map(|text| serde_json::from_str(&text).unwrap())
            .collect()
    };
    let mut all: Vec<&RoomEvent> = rooms.values().flatten().collect();
    all.sort_by_key(|event| event.id);
    let half = &all[60..];
    let followed = lines("/v1/events", &all[59].id.to_string(), half.len());
    assert!(followed.iter().eq(half.iter().copied()));
    let of_one = lines("/v1/events?room=down-7", "0", 4);
    assert_eq!(of_one, rooms["down-7"]);
}
