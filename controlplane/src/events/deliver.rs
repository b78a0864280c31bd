//! Sends events to webhooks: HTTP POST, signed, bounded in time, and never to anywhere but where the
//! webhook's own URL leads: redirects are not followed.

use super::log::{Log, Message, now_ms};
use super::outbox::Outcome;
use crate::limits;
use ion_api::webhooks::{Target, Webhooks};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use ureq::Agent;

/// How long nothing may be looked at, whatever is due.
const LOOK_MS: u64 = 5_000;

fn agent() -> Agent {
    // Another part of the process may have chosen one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Agent::config_builder()
        .timeout_global(Some(limits::DELIVERY_TIMEOUT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .max_idle_connections(limits::DELIVERIES_AT_ONCE)
        .user_agent(concat!("ion/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Delivers until `stop` says so; what is under way then is delivered again later.
pub async fn deliver(log: Arc<Log>, webhooks: Arc<Webhooks>, mut stop: watch::Receiver<bool>) {
    let agent = agent();
    let places = Arc::new(Semaphore::new(limits::DELIVERIES_AT_ONCE));
    let mut under_way: JoinSet<()> = JoinSet::new();
    while !*stop.borrow() {
        while let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let Some(message) = log.take(now_ms()) else {
                break;
            };
            let (log, agent) = (Arc::clone(&log), agent.clone());
            let target = find(&webhooks, &message.attempt.webhook);
            under_way.spawn_blocking(move || {
                attempt(&log, &agent, target.as_deref(), &message);
                drop(place);
            });
        }
        let full = places.available_permits() == 0;
        let wait_ms = match log.wake_ms() {
            Some(due) if !full => due.saturating_sub(now_ms()).min(LOOK_MS),
            _ => LOOK_MS,
        };
        tokio::select! {
            () = log.more.notified() => {}
            Some(_) = under_way.join_next() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            _ = stop.changed() => break,
        }
    }
}

fn find(webhooks: &Webhooks, id: &str) -> Option<Arc<Target>> {
    let targets = webhooks.targets();
    targets.iter().find(|target| target.info.id == id).cloned()
}

fn attempt(log: &Log, agent: &Agent, target: Option<&Target>, message: &Message) {
    let Some(target) = target else {
        // Deleted meanwhile: there is nobody to tell.
        log.done(message, Outcome::Taken, "");
        return;
    };
    let (outcome, error) = send(agent, target, message);
    if outcome != Outcome::Taken {
        let webhook = &message.attempt.webhook;
        tracing::debug!(
            webhook,
            event = message.attempt.event,
            error,
            "not delivered"
        );
    }
    log.done(message, outcome, &error);
}

fn send(agent: &Agent, target: &Target, message: &Message) -> (Outcome, String) {
    let id = format!("{}-{}", target.info.id, message.attempt.event);
    let sent_at_s = now_ms() / 1000;
    let signature = target.signature(&id, sent_at_s, &message.body);
    let answer = agent
        .post(&target.info.url)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", &sent_at_s.to_string())
        .header("webhook-signature", &signature)
        .send(&message.body);
    match answer {
        Ok(answer) if answer.status().is_success() => (Outcome::Taken, String::new()),
        Ok(answer) => {
            let text = format!("it answered {}", answer.status().as_u16());
            (Outcome::Refused, text)
        }
        Err(error) => (
            Outcome::Unreachable,
            format!("it cannot be reached: {error}"),
        ),
    }
}
