//! One HTTP/1.1 connection of the generator: a request at a time, answers read by `Content-Length`. Written by hand so
//! that on a shared machine the generator takes as little as it can from what it measures.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No answer that the generator asks for is longer.
const LONGEST: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// What was read of the current answer.
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(4096) })
    }

    /// Sends a whole request and reads its answer; gives the status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        self.read.clear();
        loop {
            if let Some(answer) = Answer::of(&self.read)?
                && self.read.len() >= answer.length
            {
                return Ok(answer.status);
            }
            if self.read.len() > LONGEST || self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Of head and body together.
    length: usize,
}

impl Answer {
    /// `None` while the head isn't complete.
    fn of(read: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&read[..end]).map_err(|_| io::ErrorKind::InvalidData)?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let lengths = head.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = lengths.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let body = lengths.next().and_then(|(_, value)| value.trim().parse::<usize>().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(Self { status, length: end + 4 + body.unwrap_or(0) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_once_its_head_is_there() {
        assert_eq!(Answer::of(b"HTTP/1.1 202 Accepted\r\nContent-").unwrap(), None);
        let read = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(Answer::of(read).unwrap(), Some(Answer { status: 202, length: read.len() }));
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(Answer::of(empty).unwrap(), Some(Answer { status: 204, length: empty.len() }));
        assert!(Answer::of(b"nonsense\r\n\r\n").is_err());
    }
}
