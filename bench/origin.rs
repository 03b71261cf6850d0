//! The origin that every subject of the benchmark stands before, and the client of the join storm.
//!
//! Std only, a thread per connection, HTTP/1.1 with keep-alive. It answers at once and costs next to
//! nothing, so that what is measured is what stands before it.
//!
//! `.../bytes/N` answers N bytes, `.../slow/N` after N milliseconds, everything else a small JSON. Asked by
//! the benchmark itself: `/count` how many others it has answered, `/storm/PORT/CLIENTS/KEY` what becomes
//! of so many duplicates of one key that are sent to PORT at once. Origin and clients of the storm share
//! this process, and so one clock.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How many requests have been answered that were not the benchmark's own.
static ANSWERED: AtomicU64 = AtomicU64::new(0);
/// When the last slow answer left.
static SLOW_ANSWER: Mutex<Option<Instant>> = Mutex::new(None);

const SMALL: &[u8] =
    br#"{"id":"pay_3f9a1c7e52","amount":1200,"currency":"eur","status":"succeeded","captured":true}"#;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || serve(connection));
    }
    Ok(())
}

fn serve(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut wire = Wire::default();
    while let Some(head) = wire.message(&mut connection)? {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match *parts {
            ["count"] => {
                let count = ANSWERED.load(Ordering::SeqCst);
                answer(&mut connection, "200 OK", format!("{{\"count\":{count}}}").as_bytes())?;
            }
            ["storm", port, clients, key] => {
                let told = storm(number(port) as u16, number(clients) as usize, key)?;
                answer(&mut connection, "200 OK", told.as_bytes())?;
            }
            [.., "slow", ms] => {
                thread::sleep(Duration::from_millis(number(ms)));
                ANSWERED.fetch_add(1, Ordering::SeqCst);
                *SLOW_ANSWER.lock().unwrap() = Some(Instant::now());
                answer(&mut connection, "201 Created", SMALL)?;
            }
            [.., "bytes", bytes] => {
                ANSWERED.fetch_add(1, Ordering::SeqCst);
                answer(&mut connection, "201 Created", &vec![b'x'; number(bytes) as usize])?;
            }
            _ => {
                ANSWERED.fetch_add(1, Ordering::SeqCst);
                answer(&mut connection, "201 Created", SMALL)?;
            }
        }
    }
    Ok(())
}

fn answer(connection: &mut TcpStream, status: &str, body: &[u8]) -> io::Result<()> {
    let mut whole = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n\
         Location: /v1/payments/pay_3f9a1c7e52\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    whole.extend_from_slice(body);
    connection.write_all(&whole)
}

/// So many duplicates of one key at once, against an origin that takes 200 ms: how long after the origin's
/// answer left each of them has its own.
fn storm(port: u16, clients: usize, key: &str) -> io::Result<String> {
    let before = ANSWERED.load(Ordering::SeqCst);
    let start = Arc::new(Barrier::new(clients));
    let waiting: Vec<_> = (0..clients)
        .map(|_| {
            let (start, key) = (start.clone(), key.to_owned());
            let mut connection = TcpStream::connect(("127.0.0.1", port))?;
            connection.set_nodelay(true)?;
            Ok(thread::spawn(move || {
                start.wait();
                connection.write_all(duplicate(&key).as_bytes())?;
                let head = Wire::default().message(&mut connection)?.unwrap_or_default();
                Ok::<_, io::Error>((Instant::now(), head.starts_with("HTTP/1.1 201 ")))
            }))
        })
        .collect::<io::Result<_>>()?;
    let mut answers = Vec::new();
    for client in waiting {
        answers.push(client.join().map_err(|_| io::Error::other("a client failed"))??);
    }
    let answered = SLOW_ANSWER.lock().unwrap().unwrap_or_else(Instant::now);
    let mut after: Vec<f64> = answers
        .iter()
        .map(|(at, _)| at.saturating_duration_since(answered).as_secs_f64() * 1_000.0)
        .collect();
    after.sort_by(f64::total_cmp);
    let good = answers.iter().filter(|(_, good)| *good).count();
    let executions = ANSWERED.load(Ordering::SeqCst) - before;
    Ok(format!(
        "{{\"good\":{good},\"executions\":{executions},\"median_ms\":{:.3},\"last_ms\":{:.3}}}",
        after[after.len() / 2],
        after[after.len() - 1]
    ))
}

fn duplicate(key: &str) -> String {
    let body = r#"{"amount":1200,"currency":"eur"}"#;
    format!(
        "POST /v1/slow/200 HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// What has come and was not yet read.
#[derive(Default)]
struct Wire(Vec<u8>);

impl Wire {
    /// The head of the next message, its body read over; none where the other side is done.
    fn message(&mut self, from: &mut TcpStream) -> io::Result<Option<String>> {
        let Some(end) = self.until(from, b"\r\n\r\n")? else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.take(end)).into_owned();
        let lower = head.to_ascii_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            self.chunks(from)?;
        } else if let Some((_, length)) = lower.split_once("content-length:") {
            let length = number(length.lines().next().unwrap_or_default().trim()) as usize;
            while self.0.len() < length {
                if self.more(from)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            self.take(length);
        }
        Ok(Some(head))
    }

    fn chunks(&mut self, from: &mut TcpStream) -> io::Result<()> {
        loop {
            let end = self.until(from, b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let line = String::from_utf8_lossy(&self.take(end)).into_owned();
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            while self.0.len() < size + 2 {
                if self.more(from)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            self.take(size + 2);
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Where the first `mark` ends.
    fn until(&mut self, from: &mut TcpStream, mark: &[u8]) -> io::Result<Option<usize>> {
        loop {
            if let Some(at) = self.0.windows(mark.len()).position(|bytes| bytes == mark) {
                return Ok(Some(at + mark.len()));
            }
            if self.more(from)? == 0 {
                return Ok(None);
            }
        }
    }

    fn more(&mut self, from: &mut TcpStream) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let count = from.read(&mut bytes)?;
        self.0.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.0.drain(..bytes).collect()
    }
}
