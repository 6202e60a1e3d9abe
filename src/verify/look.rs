//! Reads files of a tree, and remembers which of them this user may not read. It keeps no content.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use zeroize::Zeroizing;

use crate::node::reading::Reading;
use crate::node::tree::Content;
use rules::verify::observed::Seen;

/// A tree that is being looked at.
pub(super) struct Look<'a> {
    pub(super) tree: &'a dyn Reading,
    forbidden: RefCell<BTreeSet<String>>,
}

impl<'a> Look<'a> {
    pub(super) fn at(tree: &'a dyn Reading) -> Self {
        let forbidden = RefCell::default();
        Self { tree, forbidden }
    }

    /// A file of at most `limit` bytes. One that is forbidden is as good as absent, and remembered.
    pub(super) fn bytes(&self, path: &Path, limit: usize) -> Seen<Zeroizing<Vec<u8>>> {
        match self.tree.read(path, limit) {
            Content::Absent => Seen::Absent,
            Content::Faulty(why) => Seen::Faulty(why),
            Content::Good(content) => Seen::Good(content),
            Content::Forbidden => {
                self.forbid(path);
                Seen::Absent
            }
        }
    }

    /// The same, read by a parser that may refuse it.
    pub(super) fn parsed<T>(
        &self,
        path: &Path,
        limit: usize,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Seen<T> {
        match self.bytes(path, limit) {
            Seen::Absent => Seen::Absent,
            Seen::Faulty(why) => Seen::Faulty(why),
            Seen::Good(content) => match parse(&content) {
                Ok(value) => Seen::Good(value),
                Err(why) => Seen::Faulty(why),
            },
        }
    }

    /// The names in a directory; none if there is no such directory.
    pub(super) fn names(&self, directory: &Path) -> Vec<String> {
        self.tree.names(directory).unwrap_or_else(|error| {
            if error.kind() == ErrorKind::PermissionDenied {
                self.forbid(directory);
            }
            Vec::new()
        })
    }

    pub(super) fn forbidden(self) -> Vec<String> {
        self.forbidden.into_inner().into_iter().collect()
    }

    fn forbid(&self, path: &Path) {
        let path = path.display().to_string();
        self.forbidden.borrow_mut().insert(path);
    }
}
