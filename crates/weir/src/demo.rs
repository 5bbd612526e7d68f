//! `weir demo`: three real nodes on this machine, one of which dies and comes back.
//!
//! [`story`] decides what happens and keeps the books, without a socket or a clock; [`stage`] does it; [`live`] and
//! [`plain`] show it.

mod keys;
mod ledger;
mod live;
mod meter;
mod picture;
mod plain;
mod questions;
mod stage;
mod story;
mod summary;
mod traffic;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::live::Live;
use self::plain::Plain;
use self::stage::Stage;
use self::story::{Event, Phase, Story};
use crate::cli::DemoArgs;
use crate::stop::Stop;

/// Events that wait to be handled; who has more waits. Three times what a second of traffic brings.
const EVENTS_MAX: usize = 1_024;
/// Ten pictures a second are as many as a person reads; a key pressed is noticed as fast.
const TICK: Duration = Duration::from_millis(100);

/// Plays the demo. Success: nothing was forgotten or over-admitted, and the node came back.
///
/// # Errors
///
/// When there is no terminal, no temporary directory or no process to be had.
pub(crate) fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    crate::node::allow_many_files();
    // One thread: it starts the processes, and the kernel ends them with the thread that did.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let good = runtime.block_on(async {
        let view = if args.plain || !std::io::stdout().is_terminal() {
            View::Plain(Plain::new())
        } else {
            View::Live(Live::open().context("taking over the terminal; try --plain")?)
        };
        play(view).await
    })?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How the story is shown.
enum View {
    Live(Live),
    Plain(Plain),
}

async fn play(mut view: View) -> anyhow::Result<bool> {
    let mut stop = Stop::new()?;
    let start = Instant::now();
    let (sender, mut events) = channel(EVENTS_MAX);
    let mut stage = Stage::new(start, sender)?;
    let mut story = Story::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        follow(&mut story, &mut stage, start)?;
        let over = story.phase == Phase::Over;
        if let View::Plain(plain) = &mut view {
            plain.show(&story, start.elapsed())?;
            if over {
                break;
            }
        }
        tokio::select! {
            event = next(&mut events) => {
                stage.on_event(&event);
                story.on_event(start.elapsed(), event);
            }
            _ = tick.tick() => {
                story.on_tick(start.elapsed());
                if let View::Live(live) = &mut view {
                    live.show(&story, start.elapsed())?;
                    if live.wants_to_quit()? {
                        break;
                    }
                }
            }
            () = stop.next() => break,
        }
    }
    story.on_quit(start.elapsed());
    // Nodes first: whoever reads the summary may count processes.
    drop(stage);
    if let View::Live(live) = view {
        live.close()?;
    }
    plain::print(&summary::summary(&story))?;
    Ok(story.good())
}

/// Does all that the story asks for now.
fn follow(story: &mut Story, stage: &mut Stage, start: Instant) -> anyhow::Result<()> {
    while let Some(effect) = story.next_effect() {
        if let Some(event) = stage.perform(effect)? {
            story.on_event(start.elapsed(), event);
        }
    }
    Ok(())
}

/// The next event. The stage has a sender, so that there may always be another.
async fn next(events: &mut Receiver<Event>) -> Event {
    match events.recv().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}
