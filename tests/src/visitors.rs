//! Visitors over TLS, or with a new connection for every page: `curl`, at a constant rate, one page after the other until it is ended.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::Context;

/// Comes before what is said of each request; whatever else curl says is a complaint.
const ANSWER: &str = "answer ";

/// How they come.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// All on one connection, as long as it is not closed. HTTP/2 where the door speaks it.
    Kept,
    /// Each on a connection of its own.
    Anew,
}

/// What they got.
#[derive(Debug, Default)]
pub struct Visits {
    pub requests: usize,
    /// Everything that was no 200, in curl's words.
    pub failures: Vec<String>,
}

/// Visitors at work.
#[derive(Debug)]
pub struct Visitors {
    child: Child,
    said: Option<JoinHandle<Visits>>,
}

impl Visitors {
    /// They ask for `page`, such as `https://shop.localhost/health`, at the door `127.0.0.1:<port>`, so often a second.
    pub fn start(page: &str, port: &str, way: Way, rate: u32) -> anyhow::Result<Self> {
        let mut command = Command::new("curl");
        // Standard error is written at once: nothing is lost when it is ended.
        command
            .args(["--silent", "--show-error", "--insecure", "--max-time", "30"])
            .args(["--output", "/dev/null", "--rate", &format!("{rate}/s")])
            .args([
                "--write-out",
                &format!("%{{stderr}}{ANSWER}%{{http_code}}\n"),
            ])
            .args(["--connect-to", &format!("::127.0.0.1:{port}")]);
        if let Way::Anew = way {
            command.args(["--http1.1", "--header", "Connection: close"]);
        }
        let mut child = command
            .arg(format!("{page}?visit=[1-1000000]"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipe = child.stderr.take().context("no standard error")?;
        let said = std::thread::spawn(move || {
            let mut visits = Visits::default();
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                visits.count(&line);
            }
            visits
        });
        Ok(Self {
            child,
            said: Some(said),
        })
    }

    /// They go, and say how it was.
    pub fn finish(mut self) -> anyhow::Result<Visits> {
        self.child.kill()?;
        let said = self.said.take().context("ended already")?;
        said.join().map_err(|_| anyhow::anyhow!("the reader died"))
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        // It may have been ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Visits {
    fn count(&mut self, line: &str) {
        let status = line.strip_prefix(ANSWER);
        self.requests += usize::from(status.is_some());
        if status != Some("200") {
            self.failures.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_200_is_a_failure() {
        let mut visits = Visits::default();
        for line in ["answer 200", "curl: (56) reset", "answer 000", "answer 503"] {
            visits.count(line);
        }
        assert_eq!(visits.requests, 3);
        assert_eq!(visits.failures.len(), 3, "{:?}", visits.failures);
    }
}
