//! Questions to a person.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;

use crate::failure::Failure;

/// A secret from standard input: a line without echo from a terminal, else all there is.
pub(crate) fn secret(question: &str) -> anyhow::Result<SecretString> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        eprint!("{question}: ");
        io::stderr().flush()?;
        let line = without_echo(|| {
            let mut line = String::new();
            stdin.lock().read_line(&mut line)?;
            Ok(line)
        });
        eprintln!();
        return Ok(SecretString::from(line?.trim().to_owned()));
    }
    let text = io::read_to_string(io::Read::take(stdin.lock(), 4096))
        .context("cannot read standard input")?;
    Ok(SecretString::from(text.trim().to_owned()))
}

/// The line a person types.
pub(crate) fn line(question: &str) -> anyhow::Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Usage(
            "this asks before it goes on, and there is no terminal to ask on; pass --yes"
                .to_owned(),
        )
        .into());
    }
    eprint!("{question}");
    io::stderr().flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Puts the terminal back however the read ends, short of a kill.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        // Nothing better can be done with a terminal that went away.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn without_echo(read: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    let before = tcgetattr(io::stdin()).context("cannot ask the terminal about itself")?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    let restore = Restore(before);
    tcsetattr(io::stdin(), OptionalActions::Now, &quiet)
        .context("cannot turn the terminal's echo off")?;
    let line = read();
    drop(restore);
    line
}
