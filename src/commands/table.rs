//! Rows and columns for people.
//!
//! On a terminal, cells that do not fit wrap at its width. Elsewhere each row is one line, however
//! long, so that `grep` finds whole facts. There are no lines, boxes or colours in either.

use std::io;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table as Cells};

/// The width of the terminal on standard output; `None` when it is something else.
pub(crate) fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// Rows of a table; the columns are as wide as they need to be.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// A table without rows.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a row. A row without cells is a blank line.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.0.push(cells.map(one_line).into());
    }

    /// The text, each line with its newline, at most `width` columns wide.
    pub(crate) fn render(self, width: Option<u16>) -> String {
        let mut cells = Cells::new();
        cells.load_style(NOTHING);
        match width {
            Some(width) => {
                cells.set_content_arrangement(ContentArrangement::Dynamic);
                cells.set_width(width);
            }
            None => {
                cells.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        cells.add_rows(self.0);
        for column in cells.column_iter_mut() {
            column.set_padding((0, 1));
        }
        let lines = cells.lines();
        lines.map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// What stands in a certificate may hold line breaks; no cell begins a line of its own.
fn one_line(cell: &str) -> String {
    cell.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Table {
        let mut table = Table::new();
        table.row(["ready:", "true"]);
        table.row([]);
        table.row(["server.pem:", "one two three four five six"]);
        table
    }

    #[test]
    fn elsewhere_a_row_is_a_line_and_on_a_terminal_it_wraps() {
        let long = "ready:      true\n\nserver.pem: one two three four five six\n";
        assert_eq!(rows().render(None), long);
        let wrapped = "ready:      true\n\nserver.pem: one two\n            \
                       three four\n            five six\n";
        assert_eq!(rows().render(Some(24)), wrapped);
    }

    #[test]
    fn no_cell_begins_a_line_of_its_own() {
        let mut table = Table::new();
        table.row(["a", "x\nready: true\r\n\u{1b}[2J"]);
        assert_eq!(table.render(None), "a x ready: true   [2J\n");
    }
}
