//! Columns that line up.

/// Lays out rows, the first being the head, in columns as wide as their widest cell. No white space at line ends.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up() {
        let rows = [["NAME", "SHARDS"], ["oskar", "1024"], ["o", ""]]
            .map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows), "NAME   SHARDS\noskar  1024\no\n");
    }
}
