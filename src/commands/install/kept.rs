//! What an installation is to remember, where another one was before. Pure.

use super::change::{self, Was};
use super::record::Record;
use crate::commands::noded_args::NodedArgs;

/// The record of a change of `now` to `written`: the way back leads to what the first installation
/// found, and not to what that one left.
pub(super) fn again(
    first: &Record,
    now: Option<&[u8]>,
    was: Option<Was>,
    written: &[u8],
) -> Record {
    let Some(first_was) = &first.was else {
        return first.renewed(written); // a file of the installation's own
    };
    if now == Some(&*first.written) {
        return first.renewed(written);
    }
    let text = now.unwrap_or_default();
    let value = change::value(text).unwrap_or_default();
    if NodedArgs::parse(&value).is_moved()
        && let Ok(before) = change::back(text, first_was)
    {
        // Edited since: what was edited stays.
        return Record::new(&first.path, Some(first_was.clone()), Some(&before), written);
    }
    // Somebody has put noded back by hand since: what he has left counts.
    Record::new(&first.path, was, now, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"NODED_ARGS='-d'\n";
    const ONE: &[u8] = b"NODED_ARGS=\"-d -b 127.0.0.1 -p 11811 --no-ssl\"\n";
    const TWO: &[u8] = b"NODED_ARGS=\"-d -b 127.0.0.1 -p 298 --no-ssl\"\n";

    fn value(word: &[u8]) -> Option<Was> {
        Some(Was::Value(word.to_vec()))
    }

    #[test]
    fn what_comes_back_after_a_second_installation_as_a_table() {
        let first = Record::new("/f".as_ref(), value(b"'-d'"), Some(OLD), ONE);
        let edited = [ONE, b"# mine\n"].concat();
        let (by_hand, other) = (b"NODED_ARGS=\"-d -d\"\n", b"\"-d -d\"");
        type Row<'a> = (&'a [u8], Option<Was>, &'a [u8], Option<Was>);
        let table: [Row<'_>; 3] = [
            (ONE, value(b"\"...\""), OLD, value(b"'-d'")),
            (
                &edited,
                value(b"\"...\""),
                b"NODED_ARGS='-d'\n# mine\n",
                value(b"'-d'"),
            ),
            (by_hand, value(other), by_hand, value(other)),
        ];
        for (now, was, before, kept) in table {
            let found = again(&first, Some(now), was, TWO);
            let expected = Record::new("/f".as_ref(), kept, Some(before), TWO);
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(now));
        }
    }

    #[test]
    fn a_file_that_was_not_there_goes_after_a_second_installation_too() {
        let first = Record::new("/d".as_ref(), None, None, b"1");
        let second = again(&first, Some(b"edited"), None, b"2");
        assert_eq!((second.before(), &*second.written), (None, &b"2"[..]));
    }
}
