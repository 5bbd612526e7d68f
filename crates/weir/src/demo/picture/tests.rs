use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::story::tests::Told;
use super::*;

fn picture(told: &Told, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(frame, &told.story, told.now))
        .unwrap();
    let cells: Vec<&str> = terminal
        .backend()
        .buffer()
        .content()
        .iter()
        .map(|cell| cell.symbol())
        .collect();
    let rows: Vec<String> = cells
        .chunks(usize::from(width))
        .map(|row| row.concat())
        .collect();
    rows.join("\n")
}

#[track_caller]
fn check(picture: &str, row: &str) {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = picture.lines().any(|line| squeezed(line).contains(row));
    assert!(found, "no row with {row:?} in\n{picture}");
}

#[test]
fn owners_and_the_dead_are_shown() {
    let mut told = Told::new();
    told.until_the_kill();
    told.until_the_return(0);
    let picture = picture(&told, 80, 24);
    check(&picture, "ada up 100 512 █");
    check(&picture, "cleo dead - 0");
    check(&picture, "0.7 ms");
    check(&picture, "first key taken over 3.0 ms");
    check(&picture, "forgotten 0");
    check(&picture, "cleo starts again");
}

#[test]
fn the_verdict_is_shown_at_the_end() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut told = Told::new();
        told.until_the_kill();
        told.until_the_return(0);
        told.until_the_end();
        let good = picture(&told, width, height);
        check(
            &good,
            "AS PROMISED: nothing forgotten, nothing over-admitted, and the node is back",
        );
        check(&good, "cleo up 100 342 █");
    }
    let mut told = Told::new();
    told.until_the_kill();
    told.until_the_return(3);
    told.until_the_end();
    let bad = picture(&told, 80, 24);
    check(&bad, "NOT AS PROMISED: 3 hits forgotten");
    check(&bad, "forgotten 3");
}

#[test]
fn a_terminal_too_small_is_no_reason_to_fail() {
    let told = Told::new();
    for (width, height) in [(1, 1), (10, 3), (40, 12), (300, 100)] {
        picture(&told, width, height);
    }
}
