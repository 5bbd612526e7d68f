//! The story in a terminal of its own.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::picture;
use super::story::Story;

/// The terminal, given back as it was when this is dropped, and by a panic before it is told.
#[derive(Debug)]
pub(crate) struct Live {
    terminal: DefaultTerminal,
}

impl Live {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            terminal: ratatui::try_init()?,
        })
    }

    /// Draws the story as it is.
    ///
    /// # Errors
    ///
    /// When the terminal has gone.
    pub(crate) fn show(&mut self, story: &Story, now: Duration) -> io::Result<()> {
        self.terminal
            .draw(|frame| picture::draw(frame, story, now))?;
        Ok(())
    }

    /// Whether a key was pressed that ends the demo: q, Escape or Ctrl-C, which is no signal in a raw terminal.
    ///
    /// # Errors
    ///
    /// When the terminal has gone.
    pub(crate) fn wants_to_quit(&mut self) -> io::Result<bool> {
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else {
                continue;
            };
            let quits = match key.code {
                KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
                KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
                _ => false,
            };
            if quits && key.kind == KeyEventKind::Press {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives the terminal back, so that one can print to it.
    ///
    /// # Errors
    ///
    /// When it has gone.
    pub(crate) fn close(self) -> io::Result<()> {
        ratatui::try_restore()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
