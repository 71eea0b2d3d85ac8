use super::*;

fn sieve() -> Sieve {
    let mut sieve = Sieve::default();
    let places = ["api/callbacks/**", "klarnacheckout*", "checkout/klarna", "?do_it=Push&id", "?pay~Klarna"];
    for text in places {
        sieve.add(&Place::parse(text));
    }
    sieve.add_rewrite(&Rewrite { marker: "m", adds: None, parameters: &["pay"], is_obeyed: true });
    sieve
}

#[test]
fn traffic_goes_by() {
    for target in [
        "/",
        "/shop/blue-mug?page=2",
        "/s?q=%C3%A4%20b%2Fc%5B%5D",
        "/callbacks",
        "/klarna",
        "/api-callbacks/klarnas?do-it=push&id=1",
        "/?do_it=pull&id=1",
        "/?do_it=push",
        "/x?%",
        "/x?%6",
        "/%C3%A4%20",
        "/mm/x?payment=klarna",
    ] {
        assert_eq!(sieve().look_at(target.as_bytes()), None, "{target}");
    }
}

#[test]
fn a_need_is_seen_in_any_spelling() {
    for target in [
        "/API/CallBacks/x",
        "callbacks\\api",
        "/klarnacheckout2",
        "/a/Checkout;x/klarna\n",
        "/checkout/%20klarna",
        "/%2520checkout/ \0klarna",
        "/checkout/\n%09klarna",
        "/checkout/k%6carna",
        "/checkout/%4bLARNA",
        "/checkout/%256blarna",
        "/checkout/%6%62larna",
        "/checkout%5cklarna%3b",
        "/?DO.it=push&id=",
        "/?%20do[it=p%55sh&+id%00x",
        "/?d%256f+it=PUSH&%2569d",
        "/?pay",
        "/?controller=a?pay=1",
        "/en/M/x",
    ] {
        assert!(sieve().look_at(target.as_bytes()).is_some(), "{target}");
    }
}

#[test]
fn only_the_places_remain_whose_needs_are_shown() {
    let mut sieve = Sieve::default();
    let (push, pay) = (sieve.add(&Place::parse("api/push")), sieve.add(&Place::parse("?pay")));
    let shown = sieve.look_at(b"/api/push?page=1").unwrap();
    assert!(shown.meet(push) && !shown.meet(pay));
}

#[test]
fn a_place_without_needs_remains_always() {
    let mut sieve = sieve();
    sieve.add(&Place::parse("*/{id}"));
    assert!(sieve.look_at(b"/").is_some());
}
