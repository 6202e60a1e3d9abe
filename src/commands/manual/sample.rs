//! The commented sample configuration as the body of a man page: comments become paragraphs. It
//! changes no word.

use clap_mangen::roff::{Roff, bold, roman};

/// Lines up to an empty one: what is said, then the keys that it is said of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Block<'a> {
    paragraphs: Vec<String>,
    keys: Vec<&'a str>,
}

/// Adds all that the sample says to the page.
pub(super) fn render(sample: &str, page: &mut Roff) {
    page.control("SH", ["DESCRIPTION"]);
    let mut keys_seen = false;
    for part in sample.split("\n\n") {
        let mut lines = part.trim_matches('\n');
        if let Some((section, rest)) = heading(lines) {
            page.control("SH", [&*format!("SECTION [{section}]")]);
            lines = rest;
            keys_seen = true;
        }
        let block = parse(lines);
        if !block.keys.is_empty() && !keys_seen {
            page.control("SH", ["KEYS BEFORE THE SECTIONS"]);
            keys_seen = true;
        }
        show(&block, page);
    }
}

/// `[name]` in the first line, and the lines after it.
fn heading(lines: &str) -> Option<(&str, &str)> {
    let (first, rest) = lines.split_once('\n').unwrap_or((lines, ""));
    let name = first.strip_prefix('[')?.strip_suffix(']')?;
    Some((name, rest))
}

fn parse(lines: &str) -> Block<'_> {
    let mut block = Block::default();
    let mut paragraph: Vec<&str> = Vec::new();
    for line in lines.lines() {
        match (line.strip_prefix("# "), line.strip_prefix('#')) {
            (Some(words), _) => paragraph.push(words.trim()),
            (None, Some("")) => block.paragraphs.push(take(&mut paragraph)),
            (None, key) => block.keys.extend(key),
        }
    }
    block.paragraphs.push(take(&mut paragraph));
    block.paragraphs.retain(|text| !text.is_empty());
    block
}

fn take(paragraph: &mut Vec<&str>) -> String {
    let text = paragraph.join(" ");
    paragraph.clear();
    text
}

fn show(block: &Block<'_>, page: &mut Roff) {
    for (index, key) in block.keys.iter().enumerate() {
        page.control(if index == 0 { "TP" } else { "TQ" }, []);
        page.text([bold(*key)]);
    }
    let next = if block.keys.is_empty() { "PP" } else { "IP" };
    for (index, text) in block.paragraphs.iter().enumerate() {
        if index > 0 || block.keys.is_empty() {
            page.control(next, []);
        }
        page.text([roman(text)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_paragraphs_and_stay_with_their_keys() {
        let sample = "# Said of\n# all.\n\n# Of both.\n#\n# More.\n#a = 1\n#b = \"2\"\n\n\
                      [s]\n# Of c.\n#c = []\n";
        let mut page = Roff::default();
        render(sample, &mut page);
        let text = page.to_roff();
        let found: Vec<&str> = text.lines().collect();
        let expected = [
            ".SH DESCRIPTION",
            ".PP",
            "Said of all.",
            ".SH \"KEYS BEFORE THE SECTIONS\"",
            ".TP",
            "\\fBa = 1\\fR",
            ".TQ",
            "\\fBb = \"2\"\\fR",
            "Of both.",
            ".IP",
            "More.",
            ".SH \"SECTION [s]\"",
            ".TP",
            "\\fBc = []\\fR",
            "Of c.",
        ];
        assert_eq!(found, expected);
    }
}
