//! What happened, as one number by which two runs are compared, and in words for whoever looks into a seed.

/// The trace of one seed.
#[derive(Clone, Debug)]
pub struct Trace {
    number: u64,
    story: Option<Vec<String>>,
}

impl Trace {
    /// Nothing happened yet. `tell`: keep the words.
    pub fn new(tell: bool) -> Self {
        Self { number: 0xcbf2_9ce4_8422_2325, story: tell.then(Vec::new) }
    }

    /// Something happened.
    pub fn note(&mut self, at_ms: u64, what: impl FnOnce() -> String) {
        let line = format!("{at_ms:>9} ms  {}", what());
        for byte in line.bytes() {
            self.number = (self.number ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(story) = &mut self.story {
            story.push(line);
        }
    }

    /// All of it as one number (FNV-1a).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// All of it in words, if they were kept.
    pub fn story(&self) -> Vec<String> {
        self.story.clone().unwrap_or_default()
    }
}
