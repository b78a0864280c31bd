//! Values as they were given, and where: a line of a file, a variable, a flag.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SettingsError;
use super::flags::CONFIG_ENV;
use super::spec::{self, Draft, Spec};

/// Variables of ours that are no settings.
const OTHER_VARIABLES: [&str; 1] = [CONFIG_ENV];

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File { path: String, line: usize },
    Env,
    Flag,
}

/// One setting, as somebody gave it.
pub(super) struct Given {
    pub(super) spec: &'static Spec,
    pub(super) items: Vec<String>,
    pub(super) shown: String,
    pub(super) origin: Origin,
}

impl Given {
    /// Parses the value into the draft.
    pub(super) fn apply(&self, draft: &mut Draft) -> Result<(), SettingsError> {
        let one_too_many = !self.spec.list && self.items.len() != 1;
        if !one_too_many && (self.spec.set)(draft, &self.items).is_some() {
            return Ok(());
        }
        let key = self.spec.key;
        let value = if self.spec.secret {
            "(not shown)"
        } else {
            &self.shown
        };
        let place = match &self.origin {
            Origin::File { path, line } => format!("{path}:{line}: {key} = {value}"),
            Origin::Env => format!("{}={value}", spec::env_name(key)),
            Origin::Flag => format!("--{} {value}", key.replace('_', "-")),
        };
        Err(SettingsError(format!(
            "{place}: expected {}",
            self.spec.expected
        )))
    }
}

/// Reads the text of a settings file.
pub(super) fn from_file(path: &str, text: &str) -> Result<Vec<Given>, SettingsError> {
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line(span.start));
        SettingsError(format!(
            "{path}:{line}: this is no TOML: {}",
            error.message()
        ))
    })?;
    let mut given = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line(key.span().start);
        let shown = text.get(value.span()).unwrap_or_default();
        let Some(spec) = spec::find(key.get_ref()) else {
            return Err(unknown(path, line, key.get_ref(), value.get_ref()));
        };
        given.push(Given {
            spec,
            items: items(value.get_ref()),
            shown: shown.split_whitespace().collect::<Vec<_>>().join(" "),
            origin: Origin::File {
                path: path.to_owned(),
                line,
            },
        });
    }
    Ok(given)
}

/// A TOML value as a list of texts; a table becomes `key: value` pairs in the order of the file.
fn items(value: &DeValue<'_>) -> Vec<String> {
    match value {
        DeValue::Array(array) => array.iter().flat_map(|v| items(v.get_ref())).collect(),
        DeValue::Table(table) => {
            let mut pairs: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.iter().collect();
            pairs.sort_by_key(|(key, _)| key.span().start);
            let pair = |value: &DeValue<'_>, key: &str| {
                items(value)
                    .into_iter()
                    .map(|v| format!("{key}: {v}"))
                    .collect::<Vec<_>>()
            };
            pairs
                .iter()
                .flat_map(|(k, v)| pair(v.get_ref(), k.get_ref()))
                .collect()
        }
        DeValue::String(text) => vec![text.to_string()],
        DeValue::Integer(number) => vec![number.as_str().to_owned()],
        DeValue::Float(number) => vec![number.as_str().to_owned()],
        DeValue::Boolean(flag) => vec![flag.to_string()],
        DeValue::Datetime(time) => vec![time.to_string()],
    }
}

fn unknown(path: &str, line: usize, key: &str, value: &DeValue<'_>) -> SettingsError {
    let near = spec::nearest(key);
    let shown = match value {
        _ if spec::resembles_secret(near.unwrap_or(key)) => "(not shown)".to_owned(),
        DeValue::Table(_) => "(a table)".to_owned(),
        _ => items(value).join(","),
    };
    let hint = near.map_or(String::new(), |near| format!(" Did you mean {near}?"));
    let known: Vec<&str> = spec::SPECS.iter().map(|spec| spec.key).collect();
    SettingsError(format!(
        "{path}:{line}: {key} = {shown}: there is no such setting.{hint} Settings are: {}",
        known.join(", ")
    ))
}

/// Reads `ION_…` variables. An empty one counts as not set.
pub(super) fn from_env(env: &[(String, String)], warnings: &mut Vec<String>) -> Vec<Given> {
    let mut given = Vec::new();
    for (name, value) in env {
        let key = name
            .strip_prefix("ION_")
            .unwrap_or_default()
            .to_ascii_lowercase();
        match spec::find(&key) {
            Some(_) if value.is_empty() => {}
            Some(spec) => given.push(Given {
                spec,
                items: spec.split(value),
                shown: value.clone(),
                origin: Origin::Env,
            }),
            None if OTHER_VARIABLES.contains(&name.as_str()) => {}
            None => {
                let near = spec::nearest(&key).map(spec::env_name);
                let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                warnings.push(format!(
                    "the variable {name} names no setting and is ignored{hint}"
                ));
            }
        }
    }
    given
}
