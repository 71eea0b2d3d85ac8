//! Looks into forms on their way: PHP reads the parameters that choose a callback from a posted form too.

use http::Request;
use http::header::CONTENT_TYPE;
use http_body::Body;

use crate::caller_body::CallerBody;
use crate::recognise::{FormScan, Recogniser};
use crate::upstream::BodyGuard;

/// One scan for each `Content-Type`: with several, servers differ in which one PHP gets to see.
struct Scans(Vec<FormScan>);

/// What looks at this request's body, if PHP would read it as a form.
pub(super) fn guard(recogniser: &Recogniser, request: &Request<CallerBody>) -> Option<Box<dyn BodyGuard>> {
    if request.body().is_end_stream() {
        return None;
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let kinds = request.headers().get_all(CONTENT_TYPE).iter();
    let scans: Vec<_> = kinds.filter_map(|kind| recogniser.form_scan(kind.as_bytes(), target)).collect();
    if scans.is_empty() { None } else { Some(Box::new(Scans(scans))) }
}

impl BodyGuard for Scans {
    fn passes(&mut self, bytes: &[u8]) -> bool {
        self.0.iter_mut().all(|scan| !scan.feed(bytes))
    }

    fn passes_end(&mut self) -> bool {
        self.0.iter_mut().all(|scan| !scan.finish())
    }
}
