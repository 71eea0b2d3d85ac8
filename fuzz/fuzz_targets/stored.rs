//! Stored records: whatever a ledger's file holds is read or refused, and what was read is written as it was.
#![no_main]

use bytes::Bytes;
use kallback::ledger::stored::{policy_of, policy_text};
use kallback::message::{Reply, ShopRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|head: &[u8]| {
    if let Ok(request) = ShopRequest::from_stored(head, Bytes::new()) {
        let again = ShopRequest::from_stored(&request.head_bytes(), Bytes::new()).expect("its own writing");
        assert_eq!((&again.method, &again.target), (&request.method, &request.target));
        assert_eq!(again.headers, request.headers);
    }
    if let Ok(reply) = Reply::from_stored(head, Bytes::new()) {
        let again = Reply::from_stored(&reply.head_bytes(), Bytes::new()).expect("its own writing");
        assert_eq!((again.status, &again.reason), (reply.status, &reply.reason));
        assert_eq!(again.headers, reply.headers);
    }
    if let Some(policy) = std::str::from_utf8(head).ok().and_then(policy_of) {
        assert_eq!(policy_of(&policy_text(&policy)), Some(policy));
    }
});
