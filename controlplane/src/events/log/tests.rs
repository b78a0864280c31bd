use super::*;
use ion_api::accounts::Accounts;
use ion_api::events::Life;
use ion_api::token::Keys;
use ion_api::webhooks::WebhookChange;
use std::path::PathBuf;

struct Place {
    dir: PathBuf,
    webhooks: Arc<Webhooks>,
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ion-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let accounts = Arc::new(Accounts::ephemeral(Keys::default()).unwrap());
        let webhooks = Arc::new(Webhooks::open(accounts).unwrap());
        Self { dir, webhooks }
    }

    fn log(&self) -> Log {
        Log::open(&self.dir, Arc::clone(&self.webhooks)).unwrap()
    }

    fn webhook(&self) -> String {
        let new = WebhookChange {
            url: Some("http://127.0.0.1:9/".to_owned()),
            ..WebhookChange::default()
        };
        self.webhooks.create(new).unwrap().value.info.id
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn opened() -> What {
    What::Life(Life::RoomOpened)
}

fn ids(history: &History) -> Vec<u64> {
    history.events.iter().map(|event| event.id).collect()
}

#[test]
fn the_history_goes_on_where_it_was_left() {
    let place = Place::new("history");
    let log = place.log();
    for name in ["a", "b", "a"] {
        log.append(&room(name), opened());
    }
    assert_eq!(ids(&log.after(0, None, 10).unwrap()), [1, 2, 3]);
    assert_eq!(ids(&log.after(0, Some(&room("a")), 10).unwrap()), [1, 3]);
    assert_eq!(ids(&log.after(2, None, 10).unwrap()), [3]);
    assert_eq!(*log.newest().borrow(), 3);
    drop(log);
    let again = place.log();
    again.append(&room("c"), opened());
    let rest = again.after(3, None, 10).unwrap();
    assert_eq!((ids(&rest), rest.is_cut), (vec![4], false));
    let body: serde_json::Value = serde_json::from_str(&rest.events[0].body).unwrap();
    assert_eq!(
        (&body["event"]["type"], &body["room"], &body["id"]),
        (&"roomOpened".into(), &"c".into(), &4.into())
    );
    // Of a store that is no more.
    assert!(again.after(1_000, None, 10).unwrap().is_cut);
}

#[test]
fn the_history_is_bounded_and_says_what_it_lost() {
    let place = Place::new("bounded");
    let log = place.log();
    let webhook = place.webhook();
    log.append(&room("waits"), opened());
    place
        .webhooks
        .delete(&webhook, ion_api::documents::Expected::Any)
        .unwrap();
    let count = limits::HISTORY + 2 * CUT_EVERY;
    for _ in 1..count {
        log.append(&room("r"), opened());
    }
    let history = log.after(1, None, 1).unwrap();
    assert!(
        history.is_cut && history.events[0].id > CUT_EVERY,
        "{history:?}"
    );
    assert!(!log.after(count - limits::HISTORY, None, 1).unwrap().is_cut);
    // What waits for a webhook is kept.
    assert_eq!(log.after(0, None, 1).unwrap().events[0].id, 1);
}

#[test]
fn what_waits_is_there_after_a_restart_and_what_failed_can_be_sent_again() {
    let place = Place::new("waits");
    let webhook = place.webhook();
    let log = place.log();
    log.append(&room("a"), opened());
    log.append(&room("a"), What::Life(Life::RoomClosed));
    let first = log.take(now_ms()).unwrap();
    assert_eq!(
        (first.attempt.event, first.body.contains("roomOpened")),
        (1, true)
    );
    assert!(log.take(now_ms()).is_none(), "one of a room at a time");
    drop(log);

    let log = place.log();
    let again = log.take(now_ms()).unwrap();
    assert_eq!(again.attempt, first.attempt);
    log.done(&again, Outcome::Taken, "");
    let mut second = log.take(now_ms()).unwrap();
    second.at_ms = 0;
    log.done(&second, Outcome::Refused, "it answered 500");
    let failed = log.failed(&webhook, 0, 10).unwrap();
    assert_eq!(
        (failed.len(), failed[0].event, failed[0].attempts),
        (1, 2, 1)
    );
    assert_eq!(failed[0].error, "it answered 500");
    let deliveries = log.deliveries(&webhook).unwrap();
    assert_eq!((deliveries.pending, deliveries.failed), (0, 1));
    assert_eq!(deliveries.last_error.as_deref(), Some("it answered 500"));
    drop(log);

    let log = place.log();
    assert!(log.take(u64::MAX).is_none());
    assert_eq!(log.redeliver(&webhook, Some(&[1, 7])).unwrap(), 0);
    assert_eq!(log.redeliver(&webhook, None).unwrap(), 1);
    let revived = log.take(now_ms()).unwrap();
    log.done(&revived, Outcome::Taken, "");
    let deliveries = log.deliveries(&webhook).unwrap();
    assert_eq!(deliveries, Deliveries::default());
}

#[test]
fn what_waits_too_long_is_lost_in_memory_too() {
    let place = Place::new("pending");
    let webhook = place.webhook();
    let log = place.log();
    let (waiting, more) = (u64::from(limits::PENDING), 2 * CUT_EVERY);
    let fill = format!(
        "BEGIN;
         WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {waiting})
         INSERT INTO events SELECT id, 0, 'r' || (id % 7), '{{}}' FROM n;
         INSERT INTO deliveries (webhook, event) SELECT '{webhook}', id FROM events;
         COMMIT;"
    );
    log.state().db.execute_batch(&fill).unwrap();
    drop(log);
    let log = place.log();
    let pending = |log: &Log| log.deliveries(&webhook).unwrap().pending;
    assert_eq!(pending(&log), waiting);
    for _ in 0..more {
        log.append(&room("r0"), opened());
    }
    let most = waiting + CUT_EVERY;
    assert!(
        (waiting..most).contains(&pending(&log)),
        "{}",
        pending(&log)
    );
    let oldest = log.take(now_ms()).unwrap().attempt.event;
    assert!(oldest > CUT_EVERY, "{oldest}");
    // And it is as in the store.
    let before = pending(&log);
    drop(log);
    assert_eq!(pending(&place.log()), before);
}
