//! `Idempotency-Key`: a creation that is sent again is answered as it was, and creates nothing more.
//!
//! Answers may hold secrets, and are kept sealed, under a hash of caller and key. A request that came
//! while the first is under way gets a 409; one whose first died with the server is taken as new.

use std::future::Future;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use crate::accounts::{Accounts, now_s, read, refused, written};
use crate::auth::Caller;
use crate::documents::{Document, DocumentError, Expected, Kind};
use crate::exchange::{App, Made};
use crate::limits;
use crate::names::hex;
use crate::problem::Problem;

/// A request that came with a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    /// Hash of the body.
    request: String,
    at_s: u64,
    /// What was answered, sealed; none while it is under way.
    answer: Option<String>,
}

/// What a key says about a request.
enum Claim {
    /// It is new: the claim's id and version.
    New(String, u64),
    /// It has been answered.
    Answered(Made),
}

impl<B: Send + Sync + 'static> App<B> {
    /// Creates something, once for each `Idempotency-Key` of this caller.
    ///
    /// # Errors
    /// 400 for a bad key, 409 while the first is under way, 422 for another body, and what `make`
    /// gives.
    pub(crate) async fn once(
        self: &Arc<Self>,
        headers: &HeaderMap,
        caller: &Caller,
        body: &Bytes,
        make: impl Future<Output = Result<Made, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let Some(key) = key(headers)? else {
            return make.await?.answer();
        };
        let scope = caller.key().unwrap_or_default();
        let id = hex(digest(&SHA256, format!("{scope}\0{key}").as_bytes()).as_ref());
        let request = hex(digest(&SHA256, body).as_ref());
        let claim = self
            .accounts(move |accounts| claim(accounts, id, request))
            .await?;
        let (id, version) = match claim {
            Claim::Answered(made) => {
                let mut response = made.answer()?.into_response();
                let yes = axum::http::HeaderValue::from_static("true");
                response.headers_mut().insert("idempotent-replayed", yes);
                return Ok(response);
            }
            Claim::New(id, version) => (id, version),
        };
        // A task of its own: who hangs up meanwhile and asks again gets this answer.
        let app = Arc::clone(self);
        let making = tokio::spawn(async move {
            let made = make.await;
            let kept = made.as_ref().ok().cloned();
            app.accounts(move |accounts| settle(accounts, &id, version, kept.as_ref()))
                .await?;
            made
        });
        making
            .await
            .map_err(|_panicked| Problem::internal())??
            .answer()
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bad = || {
        let max = limits::IDEMPOTENCY_KEY_BYTES;
        Problem::bad_request(format!(
            "Idempotency-Key: one of 1 to {max} visible ASCII characters is allowed"
        ))
    };
    let text = value.to_str().map_err(|_| bad())?.trim();
    let good = (1..=limits::IDEMPOTENCY_KEY_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && values.next().is_none();
    good.then(|| Some(text.to_owned())).ok_or_else(bad)
}

fn purpose(id: &str) -> String {
    format!("answer:{id}")
}

fn claim(accounts: &Accounts, id: String, request: String) -> Result<Claim, Problem> {
    let documents = accounts.documents();
    let mut expected = Expected::Absent;
    if let Some(found) = documents.get(Kind::Answer, &id).map_err(refused)? {
        let asked: Asked = read(&found)?;
        if !is_over(&asked) {
            return answered(accounts, &id, &request, asked);
        }
        expected = Expected::Version(found.version);
    } else if documents.count(Kind::Answer).map_err(refused)? >= limits::ANSWERS {
        sweep(accounts)?;
    }
    let asked = Asked {
        request,
        at_s: now_s(),
        answer: None,
    };
    let body = written(&asked)?;
    match documents.put(Kind::Answer, &id, expected, &body) {
        Ok(version) => Ok(Claim::New(id, version)),
        Err(DocumentError::Unexpected) => Err(under_way()),
        Err(error) => Err(refused(error)),
    }
}

fn answered(accounts: &Accounts, id: &str, request: &str, asked: Asked) -> Result<Claim, Problem> {
    if asked.request != request {
        let text = "this Idempotency-Key was used with another body";
        return Err(Problem::invalid(text));
    }
    let sealed = asked.answer.ok_or_else(under_way)?;
    accounts
        .sealer()
        .unseal(&purpose(id), &sealed)
        .and_then(|text| serde_json::from_str(&text).ok())
        .map(Claim::Answered)
        .ok_or_else(Problem::internal)
}

fn under_way() -> Problem {
    Problem::conflict("a request with this Idempotency-Key is under way").retry_after(1)
}

/// Whether a key may be used anew: its day is over, or its first request died.
fn is_over(asked: &Asked) -> bool {
    let age_s = now_s().saturating_sub(asked.at_s);
    let died = asked.answer.is_none() && age_s > 2 * limits::BACKEND_TIMEOUT.as_secs();
    died || age_s > limits::ANSWER_S
}

/// Forgets answers whose day is over.
fn sweep(accounts: &Accounts) -> Result<(), Problem> {
    let documents = accounts.documents();
    let mut over: Vec<Document> = Vec::new();
    accounts
        .for_each(Kind::Answer, |document| {
            if read::<Asked>(document).map_or(true, |asked| is_over(&asked)) {
                over.push(document.clone());
            }
        })
        .map_err(refused)?;
    for document in &over {
        let _ = documents.delete(Kind::Answer, &document.id, Expected::Any);
    }
    match over.is_empty() {
        false => Ok(()),
        true => Err(Problem::overloaded(
            "too many Idempotency-Keys were used within a day",
            600,
        )),
    }
}

/// Keeps the answer, or frees the key of a request that was refused.
fn settle(accounts: &Accounts, id: &str, version: u64, made: Option<&Made>) -> Result<(), Problem> {
    let documents = accounts.documents();
    let expected = Expected::Version(version);
    let Some(made) = made else {
        return match documents.delete(Kind::Answer, id, expected) {
            Ok(_) | Err(DocumentError::Unexpected) => Ok(()),
            Err(error) => Err(refused(error)),
        };
    };
    let Some(found) = documents.get(Kind::Answer, id).map_err(refused)? else {
        return Ok(());
    };
    let mut asked: Asked = read(&found)?;
    let sealed = accounts.sealer().seal(&purpose(id), &written(made)?);
    asked.answer = Some(sealed.map_err(|_| Problem::internal())?);
    match documents.put(Kind::Answer, id, expected, &written(&asked)?) {
        Ok(_) | Err(DocumentError::Unexpected) => Ok(()),
        Err(error) => Err(refused(error)),
    }
}
