//! The stand-in for Stripe as a program: `fake-stripe --listen 127.0.0.1:4242`.

use std::env;
use std::net::TcpListener;
use std::process::ExitCode;

use fake_stripe::{FakeStripe, Settings};

const USAGE: &str = "usage: fake-stripe [--listen ADDRESS] [--livemode]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (mut address, mut settings) = (String::from("127.0.0.1:0"), Settings::new());
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--listen" => address = args.next().ok_or(USAGE)?,
            "--livemode" => settings.livemode = true,
            _ => return Err(USAGE.into()),
        }
    }
    let listener =
        TcpListener::bind(&address).map_err(|error| format!("listening on {address}: {error}"))?;
    let fake =
        FakeStripe::serve(listener, settings).map_err(|error| format!("starting: {error}"))?;
    println!("fake-stripe on {}", fake.url());
    fake.wait();
    Ok(())
}
