//! What blocks: a pool of threads that post offers and delete sessions (WHIP, RFC 9725; WHEP, draft-ietf-wish-whep-03),
//! and join rooms.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use ureq::http::{Response, StatusCode};
use ureq::tls::{TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::signal::{Door, Signal};
use super::stop::Stop;

const THREADS: usize = 24;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;
const MAX_REDIRECTS: usize = 3;
/// A server that is not ready yet is asked again this often.
const MAX_TRIES: usize = 6;
/// Waits between tries, where the server names none or names a longer one.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Characters of a refusal that are repeated in the report.
const SHOWN: usize = 120;

/// What is asked of the server.
pub(crate) enum Request {
    /// A new session, by an offer.
    Post { url: String, offer: String },
    /// A participant, over a WebSocket.
    Join(Door),
    /// The end of a session.
    Delete { url: String },
}

/// A request, and where its outcome goes.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) token: Option<String>,
    /// Given back with the outcome.
    pub(crate) ticket: u64,
    pub(crate) mailbox: Mailbox,
}

/// A server's word on an offer.
pub(crate) struct Answer {
    pub(crate) sdp: String,
    /// Where the session is to be ended; absent where the server named none.
    pub(crate) resource: Option<String>,
    /// When the first request left.
    pub(crate) posted: Instant,
}

pub(crate) enum Outcome {
    Answered(Answer),
    /// It is in the room; since when it wanted to be.
    Joined(Box<Signal>, Instant),
    /// Why there is no session.
    Refused(String),
    /// The session was deleted, or why not.
    Deleted(Result<(), String>),
}

/// Where outcomes go, and the doorbell that is rung for them.
#[derive(Clone)]
pub(crate) struct Mailbox {
    sender: Sender<(u64, Outcome)>,
    doorbell: Arc<OwnedFd>,
}

impl Mailbox {
    /// With the receiving end. The doorbell is an eventfd that becomes readable.
    pub(crate) fn new() -> std::io::Result<(Self, Receiver<(u64, Outcome)>)> {
        let (sender, receiver) = channel();
        let doorbell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok((Self { sender, doorbell }, receiver))
    }

    pub(crate) fn doorbell(&self) -> &OwnedFd {
        &self.doorbell
    }

    fn put(&self, ticket: u64, outcome: Outcome) {
        // Nobody is there any more when the run has ended: then nobody needs it.
        let _ = self.sender.send((ticket, outcome));
        let _ = rustix::io::write(&self.doorbell, &1_u64.to_ne_bytes());
    }
}

/// The pool. It ends when every sender of jobs is gone.
#[derive(Clone)]
pub(crate) struct Http {
    jobs: Sender<Job>,
}

impl Http {
    pub(crate) fn start(stop: &Stop) -> anyhow::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let agent = agent();
        for _ in 0..THREADS {
            let (queue, agent, stop) = (Arc::clone(&queue), agent.clone(), stop.clone());
            std::thread::Builder::new()
                .name("http".into())
                .spawn(move || {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(job) = job else { break };
                        let outcome = perform(&agent, &job, &stop);
                        job.mailbox.put(job.ticket, outcome);
                    }
                })?;
        }
        Ok(Self { jobs })
    }

    pub(crate) fn ask(&self, job: Job) {
        // The threads live as long as this sender does.
        let _ = self.jobs.send(job);
    }
}

fn agent() -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(REQUEST_TIMEOUT))
        .max_idle_connections(THREADS)
        .max_idle_connections_per_host(THREADS)
        .user_agent(concat!("ion-loadtest/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn perform(agent: &Agent, job: &Job, stop: &Stop) -> Outcome {
    let token = job.token.as_deref();
    match &job.request {
        Request::Post { url, offer } => match post(agent, url, token, offer, stop) {
            Ok(answer) => Outcome::Answered(answer),
            Err(reason) => Outcome::Refused(reason),
        },
        Request::Join(door) => {
            let posted = Instant::now();
            match Signal::join(door, stop) {
                Ok(signal) => Outcome::Joined(Box::new(signal), posted),
                Err(reason) => Outcome::Refused(reason),
            }
        }
        Request::Delete { url } => Outcome::Deleted(delete(agent, url, token)),
    }
}

/// Posts until the server takes the offer or refuses it for good.
fn post(
    agent: &Agent,
    url: &str,
    token: Option<&str>,
    offer: &str,
    stop: &Stop,
) -> Result<Answer, String> {
    let posted = Instant::now();
    let mut reason = String::new();
    for attempt in 1..=MAX_TRIES {
        let (url, mut response) = post_following(agent, url, token, offer)?;
        let status = response.status();
        if status == StatusCode::CREATED {
            let resource = header(&response, "location").map(|location| resolve(&url, &location));
            let sdp = body(&mut response, MAX_ANSWER_BYTES)?;
            return Ok(Answer {
                sdp,
                resource,
                posted,
            });
        }
        reason = refusal(&mut response);
        if !asks_for_patience(status) || attempt == MAX_TRIES || stop.requested() {
            break;
        }
        std::thread::sleep(patience(&response));
    }
    Err(reason)
}

/// Posts, and follows redirects that keep method and body (RFC 9725 §4.5). The token stays with the first origin.
fn post_following(
    agent: &Agent,
    url: &str,
    token: Option<&str>,
    offer: &str,
) -> Result<(String, Response<Body>), String> {
    let mut at = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        let mut request = agent
            .post(&at)
            .header("content-type", "application/sdp")
            .header("accept", "application/sdp");
        if let Some(token) = token.filter(|_| origin(&at) == origin(url)) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request
            .send(offer)
            .map_err(|error| short(&error.to_string()))?;
        if !matches!(
            response.status(),
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        ) {
            return Ok((at, response));
        }
        let location = header(&response, "location").ok_or("a redirect that names no address")?;
        at = resolve(&at, &location);
    }
    Err(format!("more than {MAX_REDIRECTS} redirects"))
}

fn delete(agent: &Agent, url: &str, token: Option<&str>) -> Result<(), String> {
    let mut reason = String::new();
    for attempt in 1..=MAX_TRIES {
        let mut request = agent.delete(url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().map_err(|error| short(&error.to_string()))?;
        // What is gone already need not be deleted.
        if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        reason = refusal(&mut response);
        if !asks_for_patience(response.status()) || attempt == MAX_TRIES {
            break;
        }
        std::thread::sleep(patience(&response));
    }
    Err(reason)
}

/// Whether the same request may succeed later.
fn asks_for_patience(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// How long to wait, by the server's word where it says so.
fn patience(response: &Response<Body>) -> Duration {
    let named = header(response, "retry-after")
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    named
        .unwrap_or(RETRY_AFTER)
        .clamp(Duration::from_millis(50), MAX_RETRY_AFTER)
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response
        .headers()
        .get(name)?
        .to_str()
        .ok()
        .map(str::to_owned)
}

fn body(response: &mut Response<Body>, limit: u64) -> Result<String, String> {
    response
        .body_mut()
        .with_config()
        .limit(limit)
        .read_to_string()
        .map_err(|error| short(&error.to_string()))
}

/// Status and, where there is one, the title of the problem document (RFC 9457).
fn refusal(response: &mut Response<Body>) -> String {
    let status = response.status().as_u16();
    let text = body(response, MAX_ANSWER_BYTES).unwrap_or_default();
    let title = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|problem| problem.get("title")?.as_str().map(str::to_owned));
    match title {
        Some(title) => short(&format!("HTTP {status}: {title}")),
        None => format!("HTTP {status}"),
    }
}

/// Text of the server, as it may be shown.
pub(crate) fn short(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}

/// Scheme and authority of an address.
pub(crate) fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| authority + at);
    &url[..end]
}

/// What a Location header means, relative to the address that was asked (RFC 3986 §5.2, for what servers send).
fn resolve(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let origin = origin(base);
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = base.split("://").next().unwrap_or("http");
        return format!("{scheme}://{rest}");
    }
    if location.starts_with('/') {
        return format!("{origin}{location}");
    }
    let path = base[origin.len()..].split(['?', '#']).next().unwrap_or("");
    let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
    format!("{origin}{folder}{location}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base = "http://h:1/whip/room?x=/y";
        for (location, url) in [
            ("/whip/room/s", "http://h:1/whip/room/s"),
            ("s", "http://h:1/whip/s"),
            ("https://other/s", "https://other/s"),
            ("//other/s", "http://other/s"),
        ] {
            assert_eq!(resolve(base, location), url);
        }
        assert_eq!(resolve("http://h", "s"), "http://h/s");
    }

    #[test]
    fn origins_end_where_the_path_begins() {
        for url in [
            "https://h:8/x",
            "https://h:8",
            "https://h:8?x",
            "https://h:8#x",
        ] {
            assert_eq!(origin(url), "https://h:8");
        }
    }
}
