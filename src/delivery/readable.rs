//! The beginning of a reply's body, unpacked, for those who look for words in it.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// At most the first 64 KiB of the body as they were before compression. A body that was cut off is unpacked as far
/// as it goes. `None` for an encoding that kallback does not read: then nothing is known about the body.
///
/// Brotli is left out on purpose: a shop uses it only for callers that ask for it, and the senders of callbacks ask
/// for gzip and deflate.
pub(super) fn readable_start<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Some(Cow::Borrowed(start(body)));
    };
    match encoding.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Some(Cow::Borrowed(start(body))),
        b"gzip" | b"x-gzip" => Some(Cow::Owned(unpacked(MultiGzDecoder::new(body)))),
        // RFC 9110 section 8.4.1.2 means zlib, and says that some servers send it without zlib's frame.
        b"deflate" if has_zlib_frame(body) => Some(Cow::Owned(unpacked(ZlibDecoder::new(body)))),
        b"deflate" => Some(Cow::Owned(unpacked(DeflateDecoder::new(body)))),
        _ => None,
    }
}

fn start(body: &[u8]) -> &[u8] {
    body.get(..START_BYTES_MAX).unwrap_or(body)
}

fn unpacked(packed: impl Read) -> Vec<u8> {
    let mut start = Vec::new();
    // The error of a body that breaks off changes nothing about what came before.
    let _ = packed.take(START_BYTES_MAX as u64).read_to_end(&mut start);
    start
}

/// RFC 1950 section 2.2: method 8, and the first two bytes are a multiple of 31.
fn has_zlib_frame(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// Block pages are a few kilobytes long; their words come early.
const START_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn encoded(encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(encoding))])
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(body).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn all_encodings_that_senders_ask_for_are_read() {
        let body = b"a page of words and words and words";
        let (mut zlib, mut raw) = (
            ZlibEncoder::new(Vec::new(), Compression::default()),
            DeflateEncoder::new(Vec::new(), Compression::default()),
        );
        zlib.write_all(body).unwrap();
        raw.write_all(body).unwrap();
        let (zlib, raw) = (zlib.finish().unwrap(), raw.finish().unwrap());
        for (encoding, packed) in [
            ("gzip", gzip(body)),
            (" X-GZip ", gzip(body)),
            ("deflate", zlib),
            ("deflate", raw),
            ("identity", body.to_vec()),
            ("", body.to_vec()),
        ] {
            assert_eq!(readable_start(&encoded(encoding), &packed).as_deref(), Some(&body[..]), "{encoding}");
        }
        assert_eq!(readable_start(&HeaderMap::new(), body).as_deref(), Some(&body[..]));
        assert_eq!(readable_start(&encoded("br"), body), None);
    }

    #[test]
    fn a_small_body_cannot_unpack_to_a_large_one() {
        let bomb = gzip(&vec![0; 20 * 1024 * 1024]);
        assert!(bomb.len() < 200 * 1024);
        assert_eq!(readable_start(&encoded("gzip"), &bomb).unwrap().len(), START_BYTES_MAX);
        assert_eq!(readable_start(&HeaderMap::new(), &vec![0; 100_000]).unwrap().len(), START_BYTES_MAX);
    }

    #[test]
    fn a_body_that_breaks_off_is_read_as_far_as_it_goes() {
        let body: Vec<u8> = (0..20_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let packed = gzip(&body);
        let read = readable_start(&encoded("gzip"), &packed[..packed.len() / 2]).unwrap();
        assert!(!read.is_empty() && body.starts_with(&read));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(packed in prop::collection::vec(any::<u8>(), 0..2000)) {
            for encoding in ["gzip", "deflate", "br"] {
                readable_start(&encoded(encoding), &packed);
            }
        }
    }
}
