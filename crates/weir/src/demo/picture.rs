//! The story as a picture: a function of it and the time.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

use super::plain::state;
use super::story::{NAMES, NODES, Node, Phase, Speaker, Story};
use super::summary::facts;
use crate::units::{millis, seconds};

/// Shards in the cluster; see the hash ring.
const SHARDS: u64 = 1_024;

const COLORS: [Color; NODES] = [Color::Cyan, Color::Yellow, Color::Magenta];

/// Draws everything. Made for 80 by 24, and lets the log have what is more.
pub(crate) fn draw(frame: &mut Frame<'_>, story: &Story, now: Duration) {
    let rows = [
        Constraint::Length(1),
        Constraint::Length(2 + 1 + NODES as u16),
        Constraint::Length(2 + 6),
        Constraint::Fill(1),
        Constraint::Length(1),
    ];
    let [head, nodes, middle, log, foot] = frame.area().layout(&Layout::vertical(rows));
    let [hits, death] = middle.layout(&Layout::horizontal([
        Constraint::Fill(2),
        Constraint::Fill(3),
    ]));
    draw_head(frame, head, story, now);
    draw_nodes(frame, nodes, story, now);
    draw_hits(frame, hits, story, now);
    draw_death(frame, death, story);
    draw_log(frame, log, story);
    draw_foot(frame, foot, story);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, story: &Story, now: Duration) {
    let title = Span::styled(" weir demo ", Style::new().add_modifier(Modifier::REVERSED));
    let phase = Span::styled(
        story.phase.title(story.victim),
        Style::new().add_modifier(Modifier::BOLD),
    );
    let time = if story.phase == Phase::Over {
        story.phase_since
    } else {
        now
    };
    let line = Line::from(vec![
        title,
        Span::raw(format!(" {:>6}  ", seconds(time))),
        phase,
    ]);
    frame.render_widget(line, area);
    frame.render_widget(Line::raw("q quits ").right_aligned(), area);
}

fn draw_nodes(frame: &mut Frame<'_>, area: Rect, story: &Story, now: Duration) {
    let widths = [
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(9),
    ];
    let bar = usize::from(area.width.saturating_sub(2 + 6 + 9 + 8 + 6 + 7 + 9 + 6));
    let head = ["node", "state", "pid", "shards", "", " hits/s", "      lag"];
    let rows = (0..NODES).map(|node| node_row(node, &story.nodes[node], now, bar));
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::bordered().title(" who owns what "));
    frame.render_widget(table, area);
}

fn node_row(index: usize, node: &Node, now: Duration, bar: usize) -> Row<'static> {
    let color = Style::new().fg(COLORS[index]);
    let state_color = match state(node) {
        "up" => Style::new().fg(Color::Green),
        "dead" => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        _ => Style::new().add_modifier(Modifier::DIM),
    };
    let filled = bar * usize::try_from(node.shards.min(SHARDS)).unwrap_or(0) / SHARDS as usize;
    let pid = node
        .up
        .map_or_else(|| "-".to_owned(), |up| up.pid.to_string());
    let lag = match &node.seen {
        Some(seen) if node.up.is_some() => millis(Duration::from_micros(seen.lag_us)),
        _ => "-".to_owned(),
    };
    Row::new([
        Cell::from(NAMES[index]).style(color.add_modifier(Modifier::BOLD)),
        Cell::from(state(node)).style(state_color),
        Cell::from(pid),
        Cell::from(format!("{:>6}", node.shards)),
        Cell::from("█".repeat(filled)).style(color),
        Cell::from(format!("{:>7}", node.answers.per_second(now))),
        Cell::from(format!("{lag:>9}")),
    ])
}

fn draw_hits(frame: &mut Frame<'_>, area: Rect, story: &Story, now: Duration) {
    let block = Block::bordered().title(" hits ");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [figures, history] = inside.layout(&Layout::vertical([
        Constraint::Length(4),
        Constraint::Fill(1),
    ]));
    let totals = story.totals();
    let lines = [
        ("a second", story.answers.per_second(now).to_string()),
        ("admitted", totals.admitted.to_string()),
        ("denied", totals.denied.to_string()),
        ("longest wait", millis(story.slowest)),
    ];
    let lines = lines.map(|(name, value)| Line::raw(format!(" {name:<13}{value:>8}")));
    frame.render_widget(Paragraph::new(Vec::from(lines)), figures);
    let slots = story.answers.history(now, u64::from(history.width));
    // Right-aligned in time: the newest slot is at the right end, also while there are few.
    let missing = usize::from(history.width).saturating_sub(slots.len());
    let bars = std::iter::repeat_n(0, missing).chain(slots);
    let sparkline = Sparkline::default()
        .data(bars.collect::<Vec<u64>>())
        .style(Style::new().fg(Color::Blue));
    frame.render_widget(sparkline, history);
}

fn draw_death(frame: &mut Frame<'_>, area: Rect, story: &Story) {
    let title = match story.victim {
        Some(victim) => format!(" the death of {} ", NAMES[victim]),
        None => " a death ".to_owned(),
    };
    let facts = facts(story);
    let shown = ["first", "all", "back", "died", "forgotten", "over-admitted"];
    let facts = facts
        .iter()
        .filter(|(name, _)| name.split(' ').any(|word| shown.contains(&word)));
    let lines = facts.map(|(name, value)| {
        let bad =
            ["forgotten", "over-admitted"].contains(&name.as_str()) && value != "0" && value != "-";
        let style = if bad {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        let value = Span::styled(format!("{value:>10}"), style.add_modifier(Modifier::BOLD));
        Line::from(vec![Span::raw(format!(" {name:<24}")), value])
    });
    let block = Block::bordered().title(title);
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, story: &Story) {
    let room = usize::from(area.height.saturating_sub(2));
    let lines = story.log.last(room).map(|line| {
        let at = Span::styled(
            format!("{:>6} ", seconds(line.at)),
            Style::new().add_modifier(Modifier::DIM),
        );
        match line.speaker {
            Speaker::Demo => Line::from(vec![at, Span::raw(line.text.clone())]),
            Speaker::Node(node) => {
                let name =
                    Span::styled(format!("{}: ", NAMES[node]), Style::new().fg(COLORS[node]));
                let text =
                    Span::styled(line.text.clone(), Style::new().add_modifier(Modifier::DIM));
                Line::from(vec![at, name, text])
            }
        }
    });
    let lines: Vec<Line<'_>> = lines.collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" log ")),
        area,
    );
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, story: &Story) {
    if story.phase != Phase::Over {
        return;
    }
    let color = if story.good() {
        Color::Green
    } else {
        Color::Red
    };
    let style = Style::new().fg(color).add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(format!(" {}", story.verdict()), style), area);
}

#[cfg(test)]
mod tests;
