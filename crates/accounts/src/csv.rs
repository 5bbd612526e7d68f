//! Tables of comma-separated values ([RFC 4180](https://www.rfc-editor.org/rfc/rfc4180)) which a spreadsheet takes for data.

/// One row, with its end.
///
/// A cell that begins as a formula does (`=`, `+`, `-`, `@`, or a tab or an end of line before one) has a `'` before it: what
/// people name their keys is run by no spreadsheet.
///
/// ```
/// # use accounts::csv_row;
/// assert_eq!(csv_row(["a", "b, \"c\"", "=1+1"]), "a,\"b, \"\"c\"\"\",'=1+1\r\n");
/// ```
pub fn csv_row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let mut row = String::new();
    for (place, cell) in cells.into_iter().enumerate() {
        if place != 0 {
            row.push(',');
        }
        push_cell(&mut row, cell.as_ref());
    }
    row.push_str("\r\n");
    row
}

fn push_cell(row: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    match cell.contains(['"', ',', '\r', '\n']) {
        true => {
            row.push('"');
            row.push_str(guard);
            row.push_str(&cell.replace('"', "\"\""));
            row.push('"');
        }
        false => {
            row.push_str(guard);
            row.push_str(cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The cells of a row, as a spreadsheet reads them.
    fn read(row: &str) -> Vec<String> {
        let row = row.strip_suffix("\r\n").unwrap();
        let (mut cells, mut quoted, mut cell) = (Vec::new(), false, String::new());
        let mut rest = row.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted && rest.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                c => cell.push(c),
            }
        }
        assert!(!quoted, "{row}");
        cells.push(cell);
        cells
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_and_has_no_formula(cells in prop::collection::vec("[=+@ab,\"'\t\r\n-]{0,5}", 1..5)) {
            let found = read(&csv_row(&cells));
            prop_assert_eq!(found.len(), cells.len());
            for (found, cell) in found.iter().zip(&cells) {
                prop_assert!(!found.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
                prop_assert!(found == cell || found.strip_prefix('\'') == Some(cell));
            }
        }
    }

    #[test]
    fn only_what_must_be_is_quoted() {
        for (cell, written) in [
            ("", ""),
            ("a b", "a b"),
            ("it's 1-2=3", "it's 1-2=3"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("=\"a\"", "\"'=\"\"a\"\"\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(csv_row([cell]), format!("{written}\r\n"), "{cell}");
        }
    }
}
