//! Which traces are exported: the standard samplers of `OTEL_TRACES_SAMPLER`.

use super::TraceId;

/// Decides whether a span is exported.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sampler {
    /// How it is decided where nobody decided before.
    pub root: Root,
    /// A parent that is believed has decided already.
    pub follows_parent: bool,
}

/// How it is decided for a trace that begins here.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Root {
    /// All of them.
    On,
    /// None.
    Off,
    /// This share of them, from 0 to 1, by the trace id: everybody who samples by it decides alike.
    Ratio(f64),
}

impl Sampler {
    /// Whether a trace that begins here is exported.
    pub fn begins(self, trace: TraceId) -> bool {
        match self.root {
            Root::On => true,
            Root::Off => false,
            Root::Ratio(ratio) => share_of(trace) < ratio,
        }
    }

    /// The same for one whose parent was sampled, or was not.
    pub fn follows(self, trace: TraceId, sampled: bool) -> bool {
        if self.follows_parent { sampled } else { self.begins(trace) }
    }
}

/// Where the trace id stands between 0 and 1. Its last bytes are those that are made by chance everywhere.
#[expect(clippy::cast_precision_loss, reason = "53 bits of chance are enough")]
fn share_of(trace: TraceId) -> f64 {
    let [.., a, b, c, d, e, f, g, h] = trace.0;
    let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 11;
    place as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_end(end: u64) -> TraceId {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&end.to_be_bytes());
        TraceId(id)
    }

    #[test]
    fn a_ratio_takes_its_share_of_trace_ids() {
        let sampler = |ratio| Sampler { root: Root::Ratio(ratio), follows_parent: false };
        let step = u64::MAX / 1_000;
        for (ratio, wanted) in [(0.0, 0), (0.25, 250), (1.0, 1_000)] {
            let sampled = (0..1_000).filter(|n| sampler(ratio).begins(with_end(n * step + step / 2))).count();
            assert_eq!(sampled, wanted);
        }
        assert!(sampler(1.0).begins(with_end(u64::MAX)));
    }

    #[test]
    fn only_a_sampler_that_follows_asks_the_parent() {
        for (root, alone) in [(Root::On, true), (Root::Off, false)] {
            let id = with_end(1);
            for sampled in [true, false] {
                assert_eq!(Sampler { root, follows_parent: true }.follows(id, sampled), sampled);
                assert_eq!(Sampler { root, follows_parent: false }.follows(id, sampled), alone);
            }
        }
    }
}
