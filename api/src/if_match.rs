//! `If-Match` (RFC 9110 §13.1.1), with the strong comparison that RFC 9725 asks for.

use axum::http::{HeaderMap, header};

use crate::{limits, problem::Problem};

/// What a request says about the ICE session it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`, bare or, as clients in the wild send it, quoted: whichever is current.
    Any,
    /// One of these entity tags, without their quotes. Weak tags are left out: they match nothing.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Whether the condition holds for the current entity tag, given without quotes.
    pub fn matches(&self, current: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag == current),
        }
    }

    /// Reads all `If-Match` fields of a request. `None` when there is none.
    ///
    /// A tag without quotes is read as the tag itself; some clients strip the quotes.
    ///
    /// # Errors
    /// 400 when a field is empty, is no text, has an unfinished quote or more than
    /// [`limits::IF_MATCH_TAGS`] tags.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut tags = Vec::new();
        let mut seen = false;
        for value in headers.get_all(header::IF_MATCH) {
            let text = value
                .to_str()
                .map_err(|_| malformed("it is no ASCII text"))?;
            seen = true;
            if matches!(text.trim(), "*" | "\"*\"") {
                return Ok(Some(Self::Any));
            }
            parse_list(text, &mut tags)?;
        }
        Ok(seen.then_some(Self::Tags(tags)))
    }
}

fn malformed(why: &str) -> Problem {
    Problem::bad_request(format!("If-Match cannot be read: {why}"))
}

fn parse_list(text: &str, tags: &mut Vec<String>) -> Result<(), Problem> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(malformed("it is empty"));
    }
    let mut count = 0;
    while !rest.is_empty() {
        count += 1;
        if count > limits::IF_MATCH_TAGS {
            return Err(malformed("it has too many entity tags"));
        }
        let (weak, tail) = match rest.strip_prefix("W/") {
            Some(tail) => (true, tail),
            None => (false, rest),
        };
        let (tag, tail) = match tail.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or_else(|| malformed("a quote is not closed"))?,
            None => tail.split_at(tail.find(',').unwrap_or(tail.len())),
        };
        if !weak {
            tags.push(tag.trim().to_owned());
        }
        rest = tail.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => {}
            None => return Err(malformed("entity tags are separated by commas")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(values: &[&str]) -> Result<Option<IfMatch>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        IfMatch::from_headers(&headers)
    }

    fn tags(list: &[&str]) -> Option<IfMatch> {
        Some(IfMatch::Tags(
            list.iter().map(|t| (*t).to_owned()).collect(),
        ))
    }

    #[test]
    fn forms_seen_in_the_wild() {
        assert_eq!(read(&[]), Ok(None));
        for any in ["*", "\"*\"", "  * "] {
            assert_eq!(read(&[any]), Ok(Some(IfMatch::Any)), "{any}");
        }
        assert_eq!(read(&["\"a,b\" , W/\"c\",\"d\""]), Ok(tags(&["a,b", "d"])));
        assert_eq!(read(&["\"a\"", "\"b\""]), Ok(tags(&["a", "b"])));
        assert_eq!(read(&["abc"]), Ok(tags(&["abc"])));
        assert_eq!(read(&["\"a\"", "*"]), Ok(Some(IfMatch::Any)));
    }

    #[test]
    fn weak_tags_never_match() {
        let weak = read(&["W/\"a\""]).unwrap().unwrap();
        assert!(!weak.matches("a"));
        assert!(!weak.matches(""));
    }

    #[test]
    fn malformed_fields_are_400() {
        let many = vec!["\"a\""; limits::IF_MATCH_TAGS + 1].join(",");
        for bad in ["", "  ", "\"a", "\"a\" \"b\"", &many] {
            assert_eq!(read(&[bad]).unwrap_err().status.as_u16(), 400, "{bad:?}");
        }
    }
}
