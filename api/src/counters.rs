//! Answers by endpoint and status code, for `/metrics`. Fixed in size: whatever a client asks for,
//! the number of series stays the same.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

/// Endpoints, as the `endpoint` label.
const ENDPOINTS: [&str; 5] = ["whip", "whep", "v1", "probe", "other"];

/// Status codes that are counted by themselves; all others count as `other`.
const CODES: [u16; 23] = [
    200, 201, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 422, 428, 429, 431,
    500, 501, 503, 504,
];

const SERIES: usize = CODES.len() + 1;

/// Counts answers.
#[derive(Debug)]
pub struct Counters {
    answers: [[AtomicU64; SERIES]; ENDPOINTS.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            answers: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
        }
    }
}

impl Counters {
    /// Counts one answer to a request for `path`.
    pub fn count(&self, path: &str, status: StatusCode) {
        let code = status.as_u16();
        let column = CODES.iter().position(|c| *c == code).unwrap_or(CODES.len());
        self.answers[endpoint(path)][column].fetch_add(1, Ordering::Relaxed);
    }

    /// Prometheus text of all series that have counted anything.
    pub fn render(&self) -> String {
        let mut out = String::from(
            "# HELP ion_http_responses HTTP answers by endpoint and status code.\n\
             # TYPE ion_http_responses counter\n",
        );
        for (endpoint, row) in ENDPOINTS.iter().zip(&self.answers) {
            for (column, cell) in row.iter().enumerate() {
                let count = cell.load(Ordering::Relaxed);
                if count > 0 {
                    let code = CODES.get(column).map_or("other".to_owned(), u16::to_string);
                    let _ = writeln!(
                        out,
                        "ion_http_responses_total{{endpoint=\"{endpoint}\",code=\"{code}\"}} {count}"
                    );
                }
            }
        }
        out
    }
}

fn endpoint(path: &str) -> usize {
    match path.split('/').nth(1) {
        Some("whip") => 0,
        Some("whep") => 1,
        Some("v1") => 2,
        Some("healthz" | "readyz" | "metrics") => 3,
        _ => 4,
    }
}
