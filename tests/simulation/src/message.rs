//! HTTP/1.1 as the simulated shop and the simulated Klarna read it: a head, and as many bytes as it says.

/// A whole request or reply.
#[derive(Debug)]
pub struct Message {
    first_line: String,
    lines: Vec<(String, String)>,
}

impl Message {
    /// Reads one. `None`: more is to come.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let mut lines = std::str::from_utf8(&bytes[..head]).ok()?.split("\r\n");
        let first_line = lines.next()?.to_owned();
        let lines = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let message = Self { first_line, lines };
        let body = message.number("content-length").unwrap_or(0);
        (bytes.len() >= head + 4 + body).then_some(message)
    }

    /// A reply's status.
    pub fn status(&self) -> Option<u16> {
        self.first_line.split(' ').nth(1)?.parse().ok()
    }

    /// A header line.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header line that is a number.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.header(name)?.parse().ok()
    }
}
