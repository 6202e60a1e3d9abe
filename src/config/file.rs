//! A file of the configuration: TOML text to a [`Config`], or one line that says what is wrong.
//!
//! It reads that one file and no other, and does not judge values: [`Config::load`] does.

use std::path::Path;

use super::keys::Config;
use super::problem::Problem;
use crate::node::files::read_named;

/// Reads a file that must exist: what it says by itself, and its text.
pub(super) fn read(path: &Path) -> Result<(Config, String), Vec<Problem>> {
    let name = path.display();
    let text = read_named(path)
        .and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other))
        .map_err(|error| vec![Problem(format!("--config {name}: cannot be read: {error}"))])?;
    match parse(&text, &name.to_string()) {
        Ok(config) => Ok((config, text)),
        Err(problem) => Err(vec![problem]),
    }
}

pub(super) fn parse(text: &str, name: &str) -> Result<Config, Problem> {
    let at = |error: &toml::de::Error| match error.span() {
        Some(span) => {
            format!(
                "{name}, line {}",
                text[..span.start].matches('\n').count() + 1
            )
        }
        None => name.to_owned(),
    };
    let one_line = |text: &str| text.trim().replace('\n', ", ");
    let what = |error: &toml::de::Error| match error.span().and_then(|span| text.get(span)) {
        Some(key) if error.message() == "duplicate key" => format!("duplicate key: {key}"),
        _ => one_line(error.message()),
    };
    let document = toml::Deserializer::parse(text)
        .map_err(|e| Problem(format!("{}: {}", at(&e), what(&e))))?;
    serde_path_to_error::deserialize(document).map_err(|e| {
        let inner = e.inner();
        Problem(format!(
            "{}: {}: {}",
            at(inner),
            e.path(),
            nearest(inner.message()).unwrap_or_else(|| one_line(inner.message()))
        ))
    })
}

/// For a key that is unknown and like a known one: which one may be meant. serde says "unknown field
/// `NAME`, expected one of `A`, `B`".
fn nearest(message: &str) -> Option<String> {
    let names = message.strip_prefix("unknown field `")?;
    let mut names = names.split('`').step_by(2);
    let unknown = names.next()?;
    let known = names.filter(|name| !name.is_empty());
    let near = known.map(|name| (strsim::osa_distance(unknown, name), name));
    let (distance, name) = near.min()?;
    let alike = distance <= unknown.len().div_ceil(3);
    alike.then(|| format!("unknown key `{unknown}`; is `{name}` meant?"))
}
